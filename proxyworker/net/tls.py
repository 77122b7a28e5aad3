"""TLS as a layer between a byte stream below and a protocol above, over pyOpenSSL's memory BIOs.

Laws of this module:
- Above and below are Twisted's interfaces; the layer is a protocol to the stream and a transport to the protocol.
- The protocol above is connected when the handshake has finished and `established` has not raised; until then it does
  not exist, and nothing is written for it.
- pyOpenSSL drives the handshake and the end; what comes between goes through `records`, without exceptions.
- An end without close_notify is not a clean end (RFC 8446 section 6.1).
- What is above refers to the layer; the layer refers to it and to its callbacks no longer than it needs them: a ring of
  references would keep OpenSSL's memory until the collector runs.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import classImplements

from proxyworker.net.interfaces import Address, Producer, Transport
from proxyworker.net.records import MAX_PLAINTEXT_BYTES, RECEIVED, End, Records

# RFC 8446 section 5.1: type, version, length.
RECORD_HEADER_BYTES = 5

_NOBODY = Protocol()


def _nothing() -> None:
    """Stands where a callback was."""


def _nothing_of(layer: "TLSLayer") -> None:
    """As `_nothing`."""


class SessionTruncated(ConnectionLost):
    """The peer closed its connection without close_notify."""


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
        self._records = Records(session)
        self._is_established = False
        self._is_over = False

    # From below: IProtocol

    def connectionMade(self) -> None:
        self._write_below = self.transport.write
        self._on_connected()
        self._continue_handshake()

    def received(self, nbytes: int) -> None:
        """As `dataReceived`, of the first `nbytes` bytes of `records.RECEIVED`."""
        if self._is_over or self._records.end is not None:
            return
        if not self._is_established:
            self.dataReceived(bytes(RECEIVED[:nbytes]))
            return
        self._opened(self._records.open_received(nbytes))

    def dataReceived(self, data: bytes) -> None:
        # RFC 8446 section 6.1: data behind a closure alert MUST be ignored; the session would only pile it up.
        if self._is_over or self._records.end is not None:
            return
        if not self._is_established:
            if not self.first_bytes:
                self.first_bytes = data[:RECORD_HEADER_BYTES]
            data = self._receive_handshake(data)
            if not self._is_established:
                return
        self._opened(self._records.open(data))

    def _opened(self, plain: bytes) -> None:
        if plain:
            self._above.dataReceived(plain)
        else:
            self._flush()  # a key update wants an answer
        if self._records.end is not None:
            self._end()

    def readConnectionLost(self) -> None:
        """The peer ended its half of the stream below. Behind close_notify the protocol above knows, and may go on."""
        if self._records.end is End.CLOSED and not (self.disconnecting or self._is_over):
            return
        # Known to be cut off at once, not when the stream is gone: nothing must be begun on this session meanwhile.
        self.peer_closed = not self.disconnecting
        self.disconnecting = True
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 (Twisted's signature)
        is_reset = not reason.check(ConnectionDone)
        self.peer_closed = self.peer_closed or (not self.disconnecting and not is_reset)
        self.peer_reset = not self.disconnecting and is_reset
        if not self._is_established:
            self._fail()
        else:
            is_closed_here = self.disconnecting and not self.peer_closed
            is_clean = self._records.end is End.CLOSED or (is_closed_here and reason.check(ConnectionDone))
            # A session that is over already was broken before its connection ended.
            cut_off = SessionTruncated if self.peer_closed and not self._is_over else ConnectionLost
            self._above.connectionLost(Failure(ConnectionDone() if is_clean else cut_off("TLS session cut off")))
        self._is_over = True
        self._above = _NOBODY

    # From above: ITransport

    def write(self, data: bytes) -> None:
        if self.disconnecting or self._is_over:
            return
        sealed = self._records.seal(data)
        if self._records.end is End.BROKEN:
            # What came in has not told it yet: the session takes no more.
            self._is_over = True
            self.transport.abortConnection()
            return
        self._write_below(sealed)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Sends close_notify, then closes the stream below when that is written."""
        if self.disconnecting or self._records.end is End.BROKEN:
            return
        self.disconnecting = True
        if not self._is_over:  # by loseWriteConnection: then this is said already
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

    def _receive_handshake(self, data: bytes) -> bytes:
        """Takes as much of `data` as the handshake needs, and at most a slice more; returns the rest."""
        while data and not self._is_established and not self._is_over:
            self.session.bio_write(data[:MAX_PLAINTEXT_BYTES])
            data = data[MAX_PLAINTEXT_BYTES:]
            self._continue_handshake()
        return data

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
        self._forget_callbacks()
        self._above.makeConnection(self)

    def _fail(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.disconnecting = True
        self._on_failed(self)
        self._forget_callbacks()
        self.transport.loseConnection()

    def _forget_callbacks(self) -> None:
        self._on_connected = self._on_established = _nothing
        self._on_failed = _nothing_of

    def _end(self) -> None:
        """The peer closed its half or broke the session: nothing more will come."""
        self._flush()
        if self._records.end is not End.CLOSED:
            self._is_over = True  # a broken session takes no more writes
            self.transport.abortConnection()
        elif not self.disconnecting:
            # RFC 8446 section 6.1: close_notify has no effect on the other direction, so what may be left to say is
            # for the protocol above to know.
            getattr(self._above, "readConnectionLost", self.loseConnection)()

    def _flush(self) -> None:
        while pending := self._records.pending():
            self._write_below(pending)


# Not a decorator of the class: mypyc keeps the attributes of a decorated one in a dict.
classImplements(TLSLayer, ITransport, IPushProducer)
