"""Where connections of clients come in: who is taken, who is turned away, and whose word about the client is believed.

Laws of this module:
- Everything here happens before the first byte of TLS or HTTP; a connection that was taken costs nothing more per
  request. Only behind a PROXY protocol header each read passes one call.
- A client of plain HTTP that is turned away is told a status, once it has asked for something. One of TLS is closed
  before the handshake: an answer would need the work that the limit is to save.
- Those that are being told are limited too, in number and time.
- A PROXY protocol header is believed from trusted proxies only; whatever else comes in is closed without an answer.
"""

from collections.abc import Callable
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from proxyworker.net.deadlines import NEVER, Sweep
from proxyworker.net.downstream_factory import DownstreamFactory
from proxyworker.net.interfaces import Address, Transport, host_of
from proxyworker.policy.admission import STATUS, Admission, Refusal
from proxyworker.protocol.proxy_protocol import MalformedProxyHeader, ProxyHeaderReader
from proxyworker.protocol.response import own_response

MAX_TURNED_AWAY = 64
TURN_AWAY_S = 2.0

RETRY_AFTER = (b"Retry-After: 10",)


class Door:
    """One listener's entrance. `served` makes the protocols of those that are taken; `above` is its HTTP side.

    `accept` and `closed` are called by the transport for each connection, once each.
    """

    def __init__(
        self, above: DownstreamFactory, served: Factory, admission: Admission, *, proxy_protocol: bool = False
    ) -> None:
        self._above = above
        self._served = served
        self._admission = admission
        self._has_proxy_protocol = proxy_protocol
        self._turned_away: set[TurnedAway] = set()

    def accept(self, peer: Address) -> tuple[Protocol, Callable[[], None]]:
        """The protocol for a connection from `peer`, and what is to be called when the connection is gone."""
        host = host_of(peer)
        if self._has_proxy_protocol and host not in self._above.trusted_proxies:
            return self.turn_away(Refusal.UNTRUSTED), _nothing
        refusal = self._admission.enter()
        if refusal is not None:
            return self.turn_away(refusal), _nothing
        if self._has_proxy_protocol:
            return ProxyHeaderLayer(self, peer), self._admission.leave
        refusal = self._admission.enter_client(host)
        if refusal is not None:
            self._admission.leave()
            return self.turn_away(refusal), _nothing

        def leave() -> None:
            self._admission.leave()
            self._admission.leave_client(host)

        return self._protocol(peer), leave

    def introduce(self, client: Address | None, peer: Address) -> tuple[Protocol, Callable[[], None]]:
        """The protocol for the client that a PROXY protocol header named; None: it named none."""
        client = client or peer
        host = host_of(client)
        refusal = self._admission.enter_client(host)
        if refusal is not None:
            return self.turn_away(refusal), _nothing
        return self._protocol(client), lambda: self._admission.leave_client(host)

    def turn_away(self, refusal: Refusal) -> Protocol:
        """Counts it; the protocol tells the client, if it can be told."""
        self._above.telemetry.connection_refused(refusal)
        may_be_told = self._above.scheme == "http" and len(self._turned_away) < MAX_TURNED_AWAY
        status = STATUS.get(refusal, 0) if may_be_told else 0
        return TurnedAway(self._above, self._turned_away, status)

    @property
    def header_s(self) -> float:
        """How long a PROXY protocol header may take."""
        return self._above.limits.proxy_header_s

    @property
    def sweep(self) -> Sweep:
        """What watches deadlines."""
        return self._above.sweep

    def _protocol(self, client: Address) -> Protocol:
        protocol = self._served.buildProtocol(cast(IAddress, client))  # zope's interface, which says nothing to mypy
        assert isinstance(protocol, Protocol)  # noqa: S101 (both factories make one for everybody)
        return protocol


class TurnedAway(Protocol):
    """A client that cannot be taken. `status` 0: it is told nothing and closed."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, above: DownstreamFactory, others: "set[TurnedAway]", status: int) -> None:
        self._above = above
        self._others = others
        self._status = status
        self.deadline = NEVER

    def connectionMade(self) -> None:
        if not self._status:
            self.transport.abortConnection()
            return
        self.deadline = self._above.sweep.now + TURN_AWAY_S
        self._others.add(self)
        self._above.sweep.add(self)

    def dataReceived(self, data: bytes) -> None:
        # Only now: clients take an answer that comes before they have asked for a fault. The rest is read and dropped,
        # for a close over unread bytes would reset the connection, and the answer with it.
        status, self._status = self._status, 0
        if status:
            request_id = self._above.next_request_id()
            self.transport.write(own_response(status, request_id=request_id, keep_alive=False, lines=RETRY_AFTER))
            self.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 (Twisted's signature)
        self._others.discard(self)
        self._above.sweep.discard(self)

    def deadline_passed(self) -> None:
        """It had its time."""
        self.transport.abortConnection()


class ProxyHeaderLayer(Protocol):
    """Reads a PROXY protocol header, then passes everything to the protocol of the client that it names."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, door: Door, peer: Address) -> None:
        self._door = door
        self._peer = peer
        self._reader = ProxyHeaderReader()
        self._above: Protocol | None = None
        self._leave: Callable[[], None] = _nothing
        self._is_over = False
        self.deadline = NEVER

    def connectionMade(self) -> None:
        self.deadline = self._door.sweep.now + self._door.header_s
        self._door.sweep.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._above is not None:
            self._above.dataReceived(data)
        elif not self._is_over:
            self._read_header(data)

    def readConnectionLost(self) -> None:
        """The client ended its half: who is above knows what that means; without a header it means nothing."""
        getattr(self._above, "readConnectionLost", self.transport.loseConnection)()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 (Twisted's signature)
        self._door.sweep.discard(self)
        self._leave()
        if self._above is not None:
            self._above.connectionLost(reason)

    def deadline_passed(self) -> None:
        """The header is not there in time."""
        self._refuse()

    def _read_header(self, data: bytes) -> None:
        try:
            rest = self._reader.feed(data)
        except MalformedProxyHeader:
            self._refuse()
            return
        if rest is None:
            return
        self._door.sweep.discard(self)
        self._above, self._leave = self._door.introduce(_address(self._reader.source), self._peer)
        self._above.makeConnection(self.transport)
        if rest:
            self._above.dataReceived(rest)

    def _refuse(self) -> None:
        self._is_over = True
        turned_away = self._door.turn_away(Refusal.PROXY_PROTOCOL)
        turned_away.makeConnection(self.transport)


def _address(source: str) -> Address | None:
    """A PROXY protocol's address; its port is of no use here."""
    if not source:
        return None
    return (IPv6Address if ":" in source else IPv4Address)("TCP", source, 0)


def _nothing() -> None:
    """Nobody was let in."""
