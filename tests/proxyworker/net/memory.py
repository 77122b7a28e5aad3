"""Connections without sockets: what libuv would do to a protocol, step by step and under the test's control.

Laws of this module: nothing is delivered from within a call of the protocol (libuv does not either); `settle` delivers.
Using a connection that is gone fails, as uvloop's does.
"""

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from proxyworker.net.interfaces import Producer
from proxyworker.net.records import RECEIVED, RECEIVED_BYTES
from proxyworker.net.tls import TLSLayer

HIGH_WATER_BYTES = 65_536


class MemoryTransport:
    """One connection of `protocol`. The peer reads at once, unless `peer_reads` is false.

    `shares_memory`: what arrives is put where a TLS layer that we opened finds it, as `proxyworker.net.transport` does.
    `end` is how this end closed: "", "half-closed", "closed" or "aborted"; `is_lost`: connectionLost was called.
    """

    def __init__(self, protocol: Protocol, *, peer: str = "192.0.2.7", shares_memory: bool = False) -> None:
        self.protocol = protocol
        self._shares_memory = shares_memory
        self.disconnecting = False
        self.peer_reads = True
        self.is_paused = False
        self.is_lost = False
        self.end = ""
        self._received = bytearray()
        self.most_buffered = 0
        self._buffered = b""
        self._inbox: list[bytes] = []
        self._producer: Producer | None = None
        self._producer_is_paused = False
        self._peer = peer

    # As the protocol sees it

    def write(self, data: bytes) -> None:
        assert not self.is_lost, "write on a connection that is gone"
        assert self.end != "half-closed", "write after the end"
        if self.end:
            return
        self._buffered += data
        if self.peer_reads:
            self._flush()
            return
        self.most_buffered = max(self.most_buffered, len(self._buffered))
        if len(self._buffered) > HIGH_WATER_BYTES and not self._producer_is_paused:
            self._producer_is_paused = True
            if self._producer is not None:
                self._producer.pauseProducing()

    def loseWriteConnection(self) -> None:
        self.end = self.end or "half-closed"

    def loseConnection(self) -> None:
        self.disconnecting = True
        if self.end != "aborted":
            self.end = "closed"

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.end = "aborted"
        self._buffered = b""

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self._peer, 40_000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 80)

    # As the peer does

    def deliver(self, data: bytes) -> None:
        """The peer sends `data`."""
        self._inbox.append(data)
        self.settle()

    def read_all(self) -> None:
        """The peer reads again, and goes on reading."""
        self.peer_reads = True
        self._flush()

    def close_by_peer(self) -> None:
        """The peer ends the connection in order."""
        self.disconnecting = True
        self._lose(ConnectionDone())

    def half_close_by_peer(self) -> None:
        """The peer sends nothing more, but reads on; all that it sent was taken."""
        assert not self._inbox
        if hasattr(self.protocol, "readConnectionLost"):
            self.protocol.readConnectionLost()
        else:
            self.close_by_peer()

    def reset_by_peer(self) -> None:
        """The peer breaks the connection off."""
        self._lose(ConnectionLost("reset"))

    def settle(self) -> bool:
        """Does what libuv would do now. Whether there was anything to do."""
        if self.is_lost:
            return False
        if self.end == "aborted" or (self.end == "closed" and not self._buffered):
            self._lose(ConnectionDone())
            return True
        if self._inbox and not self.is_paused:
            self._read(self._inbox.pop(0))
            return True
        return False

    def _read(self, data: bytes) -> None:
        if not self._shares_memory:
            self.protocol.dataReceived(data)
            return
        assert isinstance(self.protocol, TLSLayer)
        size = min(len(data), RECEIVED_BYTES)
        if size < len(data):
            self._inbox.insert(0, data[size:])
        RECEIVED[:size] = data[:size]
        self.protocol.received(size)
        RECEIVED[:size] = bytes(size)  # the next read is another connection's

    @property
    def received(self) -> bytes:
        """What the peer has read."""
        return bytes(self._received)

    @property
    def unread_bytes(self) -> int:
        """What the peer sent and the protocol did not take."""
        return sum(map(len, self._inbox))

    def _flush(self) -> None:
        self._received += self._buffered
        self._buffered = b""
        if self._producer_is_paused:
            self._producer_is_paused = False
            if self._producer is not None and not self.is_lost:
                self._producer.resumeProducing()

    def _lose(self, reason: Exception) -> None:
        self.is_lost = True
        self.protocol.connectionLost(Failure(reason))


class Attempt:
    """A connection that a pool wants to open."""

    def __init__(self, host: str, port: int, protocol: Protocol, failed: Callable[[OSError], None]) -> None:
        self.host = host
        self.port = port
        self.is_cancelled = False
        self._protocol = protocol
        self._failed = failed

    def cancel(self) -> None:
        self.is_cancelled = True

    def accept(self) -> MemoryTransport:
        """The connection is there."""
        transport = MemoryTransport(self._protocol, shares_memory=isinstance(self._protocol, TLSLayer))
        self._protocol.makeConnection(transport)
        return transport

    def fail(self, error: OSError) -> None:
        """It is not."""
        self._failed(error)


class Dialler:
    """Stands where `proxyworker.net.transport.connect` stands and keeps the attempts for the test to decide on."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def __call__(
        self, loop: object, host: str, port: int, protocol: Protocol, *, failed: Callable[[OSError], None]
    ) -> Callable[[], object]:
        attempt = Attempt(host, port, protocol, failed)
        self.attempts.append(attempt)
        return attempt.cancel
