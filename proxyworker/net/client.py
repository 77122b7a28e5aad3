"""Who a client is, and how it came: as its connection shows it, or as a trusted proxy in front says (docs/adr/0013).

Laws of this module: what a proxy says holds for one request; whoever else writes forwarding fields is not heard.
"""

from twisted.internet.interfaces import IAddress

from proxyworker.net.interfaces import Address, host_of
from proxyworker.policy.forwarding import ForwardingFields
from proxyworker.policy.https import https_location
from proxyworker.policy.trusted_proxies import ForwardedWay, TrustedProxies
from proxyworker.protocol.request import RequestHead
from proxyworker.snapshot import default_port


class Client:
    """The client of a connection, or behind a trusted proxy that of the request under way.

    `forwarding` writes the fields that tell an upstream about it. `has_trusted_peer`: each request is to be heard.
    """

    __slots__ = (
        "_https_port",
        "_peer_address",
        "_port",
        "_scheme",
        "_trusted",
        "address",
        "forwarding",
        "has_trusted_peer",
        "is_https",
    )

    forwarding: ForwardingFields | ForwardedWay

    def __init__(
        self, peer: IAddress | Address, *, scheme: str, port: int, https_port: int, trusted: TrustedProxies
    ) -> None:
        self.address = self._peer_address = host_of(peer)
        self.is_https = scheme == "https"
        self.forwarding = ForwardingFields(client_address=self.address, scheme=scheme, port=port)
        self._scheme = scheme
        self._port = port
        self._https_port = https_port
        self._trusted = trusted
        self.has_trusted_peer = self.address in trusted

    def hear(self, request: RequestHead) -> bytes:
        """Takes a trusted proxy's word about the client of `request`; returns its request id, if that can be kept."""
        self.forwarding = way = ForwardedWay(
            request, peer=self._peer_address, scheme=self._scheme, port=self._port, trusted=self._trusted
        )
        self.address = way.client_address
        self.is_https = way.is_https
        return way.request_id

    def forget_request(self) -> None:
        """What comes next is from nobody but the peer itself."""
        self.address = self._peer_address

    def https_location(self, request: RequestHead) -> bytes:
        """Where a client that should have come by HTTPS is sent: to the proxy in front, if that told its scheme."""
        way = self.forwarding
        if isinstance(way, ForwardedWay) and way.scheme_is_told:
            return https_location(way.host, request.target, default_port("https"))
        return https_location(request.host, request.target, self._https_port)
