"""Connections to upstreams.

Laws of this module:
- A connection carries one exchange at a time and is pooled only when the response ended exactly where its framing said
  and both sides keep it open.
- After a 101 a connection belongs to its tunnel and never returns to the pool.
- Errors of OpenSSL, libuv and the resolver become UpstreamError here, with the phase and what may have been sent.
"""

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from proxyworker.errors import Phase, RetrySafety, UpstreamError
from proxyworker.net.deadlines import NEVER
from proxyworker.net.interfaces import Transport
from proxyworker.net.refusal import MAY_REFUSE, RefusalWatch
from proxyworker.net.tls import TLSLayer
from proxyworker.net.transport import connect
from proxyworker.protocol.body import BodyReader, MalformedBody, UntilCloseReader
from proxyworker.protocol.response import BodyExtent, MalformedResponse, ResponseHead, parse_response, reader_for
from proxyworker.protocol.trailers import passable
from upstream_tls.tls.diagnosis import Diagnosis, diagnose
from upstream_tls.tls.evidence import Evidence, Stage

if TYPE_CHECKING:
    from proxyworker.net.exchange import Exchange
    from proxyworker.net.pool import UpstreamPool
    from proxyworker.net.tunnel import Tunnel

# Looking a member up on its class takes as long as a call in Python 3.11; these are needed for every request.
_SEND, _HEAD, _LENGTH = Phase.SEND, Phase.HEAD, BodyExtent.LENGTH

MAX_RESPONSE_HEAD_BYTES = 65_536


class UpstreamConnection(Protocol):
    """One connection to an upstream, from its opening to its end."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, pool: "UpstreamPool") -> None:
        self._pool = pool
        self._sweep = pool.sweep
        self._deadlines = pool.key.deadlines
        self.deadline = NEVER
        self._phase = Phase.CONNECT
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._layer: TLSLayer | None = None
        self._give_up: Callable[[], object] | None = None
        self._opening_at = 0.0
        self._connected_at = 0.0
        self._is_open = False
        self._is_reused = False
        self._method = b""
        self._buffer = b""
        self._response: ResponseHead | None = None
        self._reader: BodyReader | None = None
        self._refusal: RefusalWatch | None = None
        self._got_bytes = False
        self._is_paused = False
        self._is_blocked = False

    # Opening

    def open(self, exchange: "Exchange") -> None:
        """Connects and shakes hands, then tells `exchange` that it is ready or has failed."""
        self._exchange = exchange
        self._sweep.add(self)
        self._opening_at = self._sweep.clock()
        self.deadline = self._sweep.now + self._deadlines.connect_s
        below: Protocol = self
        context = self._pool.context
        if context is not None:
            session = context.open(self._pool.key.address)
            below = self._layer = TLSLayer(
                session,
                self,
                connected=self._begin_handshake,
                established=lambda: context.confirm(session),
                failed=self._handshake_failed,
            )
        self._give_up = connect(
            self._pool.loop, self._pool.key.address, self._pool.key.port, below, failed=self._connect_failed
        )

    def _begin_handshake(self) -> None:
        self._give_up = None
        self._connected_at = self._sweep.clock()
        self._phase = Phase.TLS
        self.deadline = self._sweep.now + self._deadlines.tls_s

    def connectionMade(self) -> None:
        self._give_up = None
        self._is_open = True
        self._pool.open_count += 1
        self.transport.registerProducer(self, True)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self.transport.abortConnection()  # given up while the handshake finished
            return
        now = self._sweep.clock()
        connected_at = self._connected_at or now
        exchange.upstream_opened(
            connected_at - self._opening_at, now - connected_at if self._layer is not None else None
        )
        exchange.upstream_ready(self)

    def _connect_failed(self, error: OSError) -> None:
        self._give_up = self._layer = None
        if isinstance(error, socket.gaierror):
            phase = Phase.RESOLVE
            evidence = Evidence(stage=Stage.DNS, address=self._pool.key.address, lookup_error=error.errno)
        else:
            phase = Phase.CONNECT
            evidence = Evidence(stage=Stage.TCP, address=self._address, errno=error.errno or 0)
        diagnosis = diagnose(evidence)
        self._fail_opening(phase, diagnosis.code, diagnosis.message)

    def _handshake_failed(self, layer: TLSLayer) -> None:
        diagnosis = self._explain(layer)
        self._fail_opening(Phase.TLS, diagnosis.code, _reason(diagnosis))

    def _explain(self, layer: TLSLayer) -> Diagnosis:
        context = self._pool.context
        assert context is not None  # noqa: S101 (a TLS layer exists only with a context)
        return context.explain(
            layer.session,
            first_bytes=layer.first_bytes,
            peer_closed=layer.peer_closed,
            errno=errno.ECONNRESET if layer.peer_reset else None,
            address=self._address,
            is_established=self._is_open,
            has_answered=self._is_reused,
        )

    @property
    def _address(self) -> str:
        return f"{self._pool.key.address}:{self._pool.key.port}"

    def _fail_opening(self, phase: Phase, code: str, reason: str, *, timed_out: bool = False) -> None:
        self._sweep.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.upstream_failed(
                UpstreamError(
                    phase=phase, code=code, reason=reason, retry_safety=RetrySafety.NEVER_SENT, timed_out=timed_out
                )
            )

    # One exchange

    def send(self, exchange: "Exchange", data: bytes, *, method: bytes, is_complete: bool) -> None:
        """Begins an exchange: `data` is the request head and what there is of its body."""
        self._exchange = exchange
        self._method = method
        self._got_bytes = False
        self._response = None
        self._refusal = None
        self._phase = _HEAD if is_complete else _SEND
        self.deadline = self._sweep.now + self._deadlines.response_head_s if is_complete else NEVER
        self.transport.write(data)

    def send_body(self, data: bytes, *, is_complete: bool) -> None:
        """Sends more of the request; with `is_complete` the last of it, which may be empty."""
        if is_complete:
            self._phase = _HEAD
            self._renew_deadline()
        if data:
            self.transport.write(data)

    def _renew_deadline(self) -> None:
        """For what is awaited next; while it is the client's turn to send or to take, only its own deadline runs."""
        if self._is_paused or (self._phase is _SEND and not self._is_blocked):
            self.deadline = NEVER
        elif self._response is None and not self._is_blocked:
            self.deadline = self._sweep.now + self._deadlines.response_head_s
        else:
            self.deadline = self._sweep.now + self._deadlines.body_stall_s

    def dataReceived(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            if self._tunnel is not None:
                self._tunnel.from_upstream(data)
                return
            # RFC 9112 section 9.3: bytes after the last response belong to nobody. 408 before an idle close is usual.
            self.abort()
            return
        self._got_bytes = True
        exchange.bytes_from_upstream += len(data)
        try:
            head = None
            if self._response is None:
                head, data = self._read_head(exchange, data)
                if head is None:
                    return
            if self._refusal is not None:
                self._look_for_refusal(self._refusal, exchange, data)
            self._read_body(exchange, head, data)
        except (MalformedResponse, MalformedBody) as malformed:
            self._fail_exchange("malformed_response", str(malformed))

    def _look_for_refusal(self, refusal: RefusalWatch, exchange: "Exchange", data: bytes) -> None:
        error = refusal.feed(data)
        if refusal.is_over:
            self._refusal = None
        if error is not None:
            exchange.upstream_refused(error)

    def _read_head(self, exchange: "Exchange", data: bytes) -> tuple[ResponseHead | None, bytes]:
        """The final response's head and what follows it; interim responses are passed on as they come."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while (end := data.find(b"\r\n\r\n") + 4) >= 4:
            raw, data = data[:end], data[end:]
            response = parse_response(raw, self._method)
            if response.status == 101:
                self._switch_protocols(exchange, response, data)
                return None, b""
            if response.status >= 200:
                self._response = response
                if response.status in MAY_REFUSE and self._layer is not None:
                    self._refusal = RefusalWatch(raw)
                return response, data
            # The deadline of the head runs on: an upstream could send these for ever.
            exchange.interim_response(response)
        if len(data) > MAX_RESPONSE_HEAD_BYTES:
            raise MalformedResponse(f"response head over {MAX_RESPONSE_HEAD_BYTES} bytes")
        self._buffer = data
        return None, b""

    def _switch_protocols(self, exchange: "Exchange", response: ResponseHead, data: bytes) -> None:
        """A tunnel from here on; `data` are its first bytes."""
        if not exchange.wants_websocket:
            raise MalformedResponse("101 to a request that did not ask for an upgrade")
        if not response.is_websocket:
            raise MalformedResponse("101 that does not switch to WebSocket")
        self._exchange = None
        self._sweep.discard(self)
        self._tunnel = exchange.switch_protocols(response)
        if data:
            self._tunnel.from_upstream(data)

    def _read_body(self, exchange: "Exchange", head: ResponseHead | None, data: bytes) -> None:
        body, rest, is_complete = b"", data, True
        if head is not None and head.content_length == len(data) and head.extent is _LENGTH:
            # Most answers arrive in one piece: those need no reader.
            body, rest = data, b""
            self._reader = None
        else:
            if head is not None:
                self._reader = reader_for(head)
            if self._reader is not None:
                body, rest = self._reader.feed(data)
                is_complete = self._reader.is_complete
                if is_complete and self._reader.trailers and self._response is not None:
                    exchange.response_trailers(passable(self._reader.trailers, self._response.judged))
        if is_complete:
            self._finish(has_rest=bool(rest), request_is_complete=exchange.request_is_complete)
        else:
            self._renew_deadline()
        exchange.response_received(head, body, is_complete=is_complete)

    def _finish(self, *, has_rest: bool, request_is_complete: bool) -> None:
        """The response is complete: back to the pool, or closed."""
        response = self._response
        self._exchange = None
        self._is_reused = True
        if self._is_paused:
            self._is_paused = False
            self.transport.resumeProducing()
        assert response is not None  # noqa: S101 (a body is read after its head)
        if response.is_reusable and request_is_complete and not has_rest and not self._is_blocked:
            self._pool.release(self)
        else:
            self.close()

    # Ending

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 (Twisted's signature)
        self._sweep.discard(self)
        self._pool.open_count -= 1
        self._pool.forget(self)
        exchange = self._exchange
        if exchange is None:
            if self._tunnel is not None:
                self._tunnel.upstream_lost(reason)
            return
        if isinstance(self._reader, UntilCloseReader) and self._response and reason.check(ConnectionDone):
            self._exchange = None
            exchange.response_received(None, b"", is_complete=True)
            return
        code, message = "connection_closed", "EOF"
        if not reason.check(ConnectionDone):
            code, message = "connection_reset", "connection reset by peer"
        if self._layer is not None and not self._got_bytes:
            # TLS 1.3: the verdict on our certificate arrives with the first read (docs/diagnosis.md).
            diagnosis = self._explain(self._layer)
            code, message = diagnosis.code, _reason(diagnosis)
        self._fail_exchange(code, message)

    def _fail_exchange(self, code: str, reason: str, *, timed_out: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is None:
            return
        # After a deadline the request is still being worked on, as far as anybody knows.
        is_unanswered = not self._got_bytes and not timed_out
        exchange.upstream_failed(
            UpstreamError(
                phase=Phase.BODY if self._response else self._phase,
                code=code,
                reason=reason,
                retry_safety=RetrySafety.IDEMPOTENT if is_unanswered else RetrySafety.UNSAFE,
                timed_out=timed_out,
                is_stale=is_unanswered and self._is_reused,
            )
        )

    def deadline_passed(self) -> None:
        """Too long in the present phase."""
        if self._exchange is None:
            self.close()
        elif self._phase in (Phase.CONNECT, Phase.TLS):
            phase = self._phase
            self._stop_opening()
            self._fail_opening(phase, "timeout", "i/o timeout", timed_out=True)
        else:
            self._fail_exchange("timeout", "i/o timeout", timed_out=True)

    def _stop_opening(self) -> None:
        if self._give_up is not None:
            self._give_up()
            self._give_up = self._layer = None
        elif self._layer is not None:
            self._layer.abortConnection()

    def cancel(self) -> None:
        """The exchange lost interest: nothing more is reported to it."""
        self._exchange = None
        if self._is_open:
            self.abort()
        else:
            self._sweep.discard(self)
            self._stop_opening()

    def close(self) -> None:
        """Ends the connection in order; a peer that does not take part is cut off at the next deadline."""
        self._pool.forget(self)
        if self.transport.disconnecting:
            self.transport.abortConnection()
            return
        self.deadline = self._sweep.now + self._deadlines.connect_s
        self.transport.loseConnection()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._pool.forget(self)
        self.transport.abortConnection()

    # Back-pressure: the upstream does not take the request as fast as the client sends it

    def pauseProducing(self) -> None:
        """The write buffer to the upstream is full: the client must wait."""
        self._is_blocked = True
        if self._exchange is not None:
            self._renew_deadline()
            self._exchange.pause_request()

    def resumeProducing(self) -> None:
        """There is room again."""
        self._is_blocked = False
        if self._exchange is not None:
            self._renew_deadline()
            self._exchange.resume_request()

    def stopProducing(self) -> None:
        """Nothing to stop; the end of the connection is told by connectionLost."""

    def pause_response(self) -> None:
        """The client does not take the response as fast as it comes; its own deadline runs meanwhile."""
        self._is_paused = True
        self._renew_deadline()
        self.transport.pauseProducing()

    def resume_response(self) -> None:
        """The client takes more."""
        self._is_paused = False
        self._renew_deadline()
        self.transport.resumeProducing()


def _reason(diagnosis: Diagnosis) -> str:
    """For the log: what was seen, and the cause as well where that is a conclusion."""
    if diagnosis.confidence == "certain":
        return diagnosis.message
    return f"{diagnosis.message} ({diagnosis.confidence}: {diagnosis.cause})"
