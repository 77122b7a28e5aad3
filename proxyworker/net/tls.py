"""TLS as a layer between a byte stream below and a protocol above, over pyOpenSSL's memory BIOs.

Laws of this module:
- Above and below are Twisted's interfaces; the layer is a protocol to the stream and a transport to the protocol.
- The protocol above is connected when the handshake has finished and `established` has not raised; until then it does
  not exist, and nothing is written for it.
- In the steady state one event costs one bio_write, one recv for each TLS record, one send, one bio_read and no
  exception. Therefore the layer counts the records that went in: a recv that would find nothing is not made.
- An end without close_notify is not a clean end (RFC 8446 section 6.1).
"""

import contextlib
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from proxyworker.net.interfaces import Address, Producer, Transport

RECORD_HEADER_BYTES = 5
MAX_PLAINTEXT_BYTES = 16_384  # RFC 8446 section 5.1

# What encryption adds: per record at most header, nonce, MAC, padding of the oldest suites; and room for a key update.
_RECORD_OVERHEAD_BYTES = 128
_READ_AHEAD_BYTES = 512


class SessionTruncated(ConnectionLost):
    """The peer closed its connection without close_notify."""


class RecordCounter:
    """Counts the TLS records of a byte stream that are complete (RFC 8446 section 5.1: type, version, length)."""

    __slots__ = ("_header", "_missing")

    def __init__(self) -> None:
        self._missing = 0
        self._header = b""

    def feed(self, data: bytes) -> int:
        """How many records `data` completes."""
        size = len(data)
        if not self._missing and not self._header and size > RECORD_HEADER_BYTES:
            body = data[3] << 8 | data[4]
            if size == body + RECORD_HEADER_BYTES:
                return 1
        return self._walk(data, size)

    def _walk(self, data: bytes, size: int) -> int:
        if self._header:
            data = self._header + data
            size += len(self._header)
            self._header = b""
        complete = 0
        position = self._missing  # where the record under way ends
        if position:
            if position > size:
                self._missing -= size
                return 0
            complete = 1
        while size - position >= RECORD_HEADER_BYTES:
            position += RECORD_HEADER_BYTES + (data[position + 3] << 8 | data[position + 4])
            if position > size:
                self._missing = position - size
                return complete
            complete += 1
        self._missing = 0
        self._header = data[position:]
        return complete


@implementer(ITransport, IPushProducer)
class TLSLayer(Protocol):
    """One TLS session.

    `connected()` is called when the stream below is there. `established()` is called when the handshake has finished
    and may raise to refuse the peer. `failed(layer)` is called at most once, when the session ends before that; the
    stream below is gone or going then.
    """

    transport: Transport  # type: ignore[assignment]

    def __init__(
        self,
        session: SSL.Connection,
        above: Protocol,
        *,
        established: Callable[[], None],
        failed: Callable[["TLSLayer"], None],
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.first_bytes = b""
        self.peer_closed = False
        self.peer_reset = False
        self.disconnecting = False
        self._above = above
        self._on_established = established
        self._on_failed = failed
        self._on_connected = connected
        self._records = RecordCounter()
        # Bound once: looking anything up on a pyOpenSSL Connection is slow, for it has a __getattr__.
        self._send, self._recv = session.send, session.recv
        self._bio_write, self._bio_read = session.bio_write, session.bio_read
        self._is_established = False
        self._is_over = False
        self._got_close_notify = False

    # From below: IProtocol

    def connectionMade(self) -> None:
        self._write_below = self.transport.write
        self._on_connected()
        self._continue_handshake()

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        self._bio_write(data)
        complete = self._records.feed(data)
        if not self._is_established:
            if not self.first_bytes:
                self.first_bytes = data[:RECORD_HEADER_BYTES]
            self._continue_handshake()
            if not self._is_established:
                return
            # The last records of the handshake may have been followed by others: one read more than is due.
            complete += 1
        self._read(complete)

    def _read(self, records: int) -> None:
        parts: list[bytes] = []
        is_over = False
        try:
            while records > 0:
                parts.append(self._recv(MAX_PLAINTEXT_BYTES))
                records -= 1
        except SSL.WantReadError:
            pass  # records without application data: tickets, key updates
        except SSL.ZeroReturnError:
            self._got_close_notify = is_over = True
        except SSL.Error:
            is_over = True
        if parts:
            self._above.dataReceived(parts[0] if len(parts) == 1 else b"".join(parts))
        if is_over:
            self._end()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 (Twisted's signature)
        is_reset = not reason.check(ConnectionDone)
        self.peer_closed = not self.disconnecting and not is_reset
        self.peer_reset = not self.disconnecting and is_reset
        if not self._is_established:
            self._fail()
        else:
            is_clean = self._got_close_notify or (self.disconnecting and reason.check(ConnectionDone))
            # A session that is over already was broken before its connection ended.
            cut_off = SessionTruncated if self.peer_closed and not self._is_over else ConnectionLost
            self._above.connectionLost(Failure(ConnectionDone() if is_clean else cut_off("TLS session cut off")))
        self._is_over = True

    # From above: ITransport

    def write(self, data: bytes) -> None:
        if self.disconnecting or self._is_over:
            return
        self._send(data)
        size = len(data)
        room = size + (size // MAX_PLAINTEXT_BYTES + 1) * _RECORD_OVERHEAD_BYTES + _READ_AHEAD_BYTES
        sealed = self._bio_read(room)
        self._write_below(sealed)
        if len(sealed) == room:
            self._flush()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Sends close_notify, then closes the stream below when that is written."""
        if self.disconnecting or self._is_over:
            return
        self.disconnecting = True
        if self._is_established:
            # When the peer's half is broken already, closing is all that is left.
            with contextlib.suppress(SSL.Error):
                self.session.shutdown()
        self._flush()
        self.transport.loseConnection()

    def loseWriteConnection(self) -> None:
        """Sends close_notify and ends this half; what the peer still sends is dropped."""
        if self.disconnecting or self._is_over:
            return
        with contextlib.suppress(SSL.Error):
            self.session.shutdown()
        self._flush()
        self._is_over = True  # OpenSSL may have more to say to what comes in, but there is no way for it
        self.transport.loseWriteConnection()

    def abortConnection(self) -> None:
        """Closes at once without close_notify, so that the peer sees a cut-off."""
        self.disconnecting = True
        self.transport.abortConnection()

    def getPeer(self) -> Address:
        return self.transport.getPeer()

    def getHost(self) -> Address:
        return self.transport.getHost()

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self.loseConnection()

    # Inside

    def _continue_handshake(self) -> None:
        try:
            self.session.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except Exception:  # noqa: BLE001 (OpenSSL's errors, and whatever a callback raised over a hostile certificate)
            self._flush()  # our alert tells the peer why
            self._fail()
            return
        self._flush()
        try:
            self._on_established()
        except Exception:  # noqa: BLE001 (any exception is a refusal of the peer)
            self._fail()
            return
        self._is_established = True
        self._above.makeConnection(self)

    def _fail(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.disconnecting = True
        self._on_failed(self)
        self.transport.loseConnection()

    def _end(self) -> None:
        """The peer closed its half or broke the session: nothing more will come."""
        self._flush()
        if not self._got_close_notify:
            self._is_over = True  # a broken session takes no more writes
            self.transport.abortConnection()
        elif not self.disconnecting:
            self.loseConnection()

    def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self._write_below(self._bio_read(65_536))
