"""What the client connections of one listener have in common.

Laws of this module: a factory says nothing about a single request; connections ask it for what holds for all of them.
"""

from collections.abc import Callable, MutableSet
from itertools import count
from typing import Protocol as Interface

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from proxyworker.net.client import Client
from proxyworker.net.deadlines import NEVER, Sweep
from proxyworker.net.downstream import DownstreamConnection
from proxyworker.net.interfaces import Address
from proxyworker.net.route import HostRoute
from proxyworker.net.telemetry import Telemetry
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.routing import RoutingIndex
from proxyworker.policy.trusted_proxies import TrustedProxies


class RuntimeHolder(Interface):
    """Holds the configuration in force. What a request found in it is the request's, whatever changes."""

    current: RoutingIndex[HostRoute]


class DownstreamFactory(Factory):
    """One listener's connections. `scheme` and `port` are what clients used to get here.

    `https_port` is where those that should have come by HTTPS are sent.
    """

    noisy = False

    def __init__(
        self,
        *,
        holder: RuntimeHolder,
        sweep: Sweep,
        limits: DownstreamLimits,
        telemetry: Telemetry,
        clock: Callable[[], float],
        request_id_prefix: bytes,
        scheme: str,
        port: int,
        https_port: int = 443,
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        self.holder = holder
        self.sweep = sweep
        self.limits = limits
        self.telemetry = telemetry
        self.clock = clock
        self.scheme = scheme
        self.port = port
        self.https_port = https_port
        self.trusted_proxies = trusted_proxies or TrustedProxies()
        self.connections: MutableSet[DownstreamConnection] = set()
        self.is_draining = False
        self.tunnels_end_at = NEVER
        self._prefix = request_id_prefix
        self._counter = count(1)

    def buildProtocol(self, addr: IAddress | None) -> "DownstreamConnection":
        return DownstreamConnection(self, addr)

    def client(self, peer: IAddress | Address) -> Client:
        """The client at the other end of a new connection."""
        return Client(
            peer, scheme=self.scheme, port=self.port, https_port=self.https_port, trusted=self.trusted_proxies
        )

    def next_request_id(self) -> bytes:
        """Unique among all requests of this installation as far as the random prefix goes."""
        return b"%b%08x" % (self._prefix, next(self._counter))

    def drain(self, *, tunnels_within_s: float) -> None:
        """Closes idle connections now, the others after their present answer, tunnels when that time has passed."""
        self.is_draining = True
        self.tunnels_end_at = self.sweep.now + tunnels_within_s
        for connection in list(self.connections):
            connection.drain()
