"""Client connections: reads requests one after the other, hands each to an Exchange, and writes what it answers.

Laws of this module:
- Bytes of a following request wait, unread by anybody, until the answer before them is written; while they wait, or
  while the client does not take what was written, reading is paused.
- A request captures the runtime once; the next request on the connection sees the newest.
- Whatever breaks the protocol or a limit is answered with a status and the connection closes.
- A client that ends its half still gets the answers to the requests that it completed (docs/adr/0014).
"""

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from proxyworker.errors import DownstreamProtocolError
from proxyworker.net.client import Client
from proxyworker.net.deadlines import NEVER
from proxyworker.net.exchange import Exchange
from proxyworker.net.interfaces import Transport
from proxyworker.net.route import HostRoute, ServerName
from proxyworker.net.telemetry import Record
from proxyworker.net.tunnel import CLOSE_S, Tunnel
from proxyworker.policy.outcome import HOST_REJECTED, MISDIRECTED, NO_SUCH_HOST, PERMANENT_REDIRECT
from proxyworker.protocol.body import BodyReader, ChunkedReader, LengthReader, MalformedBody, limited
from proxyworker.protocol.request import RequestHead, parse_repetition, parse_request
from proxyworker.protocol.response import own_response

# How long a connection that has not had a request yet may stay when the worker stops: time for a segment that was
# lost (RFC 6298 section 2 begins with a second).
FIRST_REQUEST_S = 3.0

if TYPE_CHECKING:
    from proxyworker.net.downstream_factory import DownstreamFactory


class DownstreamConnection(Protocol):
    """One client connection. `peer`: who the client is, when the transport does not know it."""

    transport: Transport  # type: ignore[assignment]
    client: Client

    def __init__(self, factory: "DownstreamFactory", peer: IAddress | None = None) -> None:
        self._factory = factory
        self._peer = peer
        self._sweep = factory.sweep
        self._limits = factory.limits
        self.telemetry = factory.telemetry
        self.deadline = NEVER
        self.server_name: ServerName | None = None  # set by the handshake, if the client asks for one
        self._buffer = b""
        self._searched = 0
        self._head_bytes = 0
        self._request: RequestHead | None = None
        self._section = b""
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._reader: BodyReader | None = None
        self._drained_bytes = 0
        self._is_half_closed = False
        self._is_write_paused = False
        self._is_reading_paused = False
        self._is_closing = False

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        factory = self._factory
        self.client = factory.client(self._peer or self.transport.getPeer())
        factory.connections.add(self)
        self._sweep.add(self)
        self.deadline = self._sweep.now + (FIRST_REQUEST_S if factory.is_draining else self._limits.head_s)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 (Twisted's signature)
        self._is_closing = True
        self._sweep.discard(self)
        self._factory.connections.discard(self)
        if self._tunnel is not None:
            self._tunnel.client_lost(reason)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
            # 499, as nginx's log has it: the client closed before the answer was complete.
            self._report(exchange, 499)

    # Reading

    def dataReceived(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_client(data)
            return
        if self._is_closing:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self._consume(data)

    def _consume(self, data: bytes) -> None:
        try:
            while data and not self._is_closing:
                if self._reader is not None:
                    data = self._read_body(data)
                elif self._exchange is not None or self._is_write_paused:
                    # The next request waits for its turn.
                    self._buffer = data
                    self.pause_reading()
                    return
                else:
                    data = self._read_head(data)
        except DownstreamProtocolError as error:
            self._refuse(error.status, error.reason)
        except MalformedBody as malformed:
            self._refuse(400, str(malformed))

    def _read_head(self, data: bytes) -> bytes:
        """Starts the next exchange when the head is complete; returns what follows it."""
        # RFC 9112 section 2.2: a server SHOULD ignore at least one empty line received prior to the request-line.
        start = 2 if data[:2] == b"\r\n" else 0
        end = data.find(b"\r\n\r\n", max(start, self._searched)) + 4
        limit = self._limits.max_head_bytes
        if end > limit or (end < 4 and len(data) > limit):
            raise DownstreamProtocolError(431, f"request head over {limit} bytes")
        if end < 4:
            if not self._searched:
                self.deadline = self._sweep.now + self._limits.head_s
            self._searched = max(0, len(data) - 3)
            self._buffer = data
            return b""
        self._searched = 0
        self._head_bytes = end
        self._begin(self._parse(data[start:end]))
        return data[end:]

    def _parse(self, head: bytes) -> RequestHead:
        """Most clients send the same fields with each request of a connection: those are not parsed again."""
        line_end = head.find(b"\r\n")
        section = head[line_end:]
        if section == self._section and self._request is not None:
            request = parse_repetition(head[:line_end], self._request)
            if request is not None:
                return request
        self._section = section
        return parse_request(head)

    def _begin(self, request: RequestHead) -> None:
        factory = self._factory
        self._request = request
        self.deadline = NEVER
        if request.has_body:
            self._reader = ChunkedReader() if request.is_chunked else LengthReader(request.content_length or 0)
            self.deadline = self._sweep.now + self._limits.body_stall_s
            self._drained_bytes = 0
        request_id = factory.next_request_id()
        if self.client.has_trusted_peer:
            request_id = self.client.hear(request) or request_id
        route = factory.holder.current.find(request.host)
        status = 0
        if route is None:
            status = NO_SUCH_HOST
        elif route.force_https and not self.client.is_https:
            status = PERMANENT_REDIRECT
        elif self.server_name is not None and not self.server_name.admits(route, request.host):
            status = MISDIRECTED
        elif route.rejected:
            status = HOST_REJECTED
        if route is None or status:
            self._answer(route, request, request_id, status)
            return
        self._exchange = exchange = Exchange(
            self,
            route,
            request,
            request_id=request_id,
            started_s=factory.clock(),
            head_bytes=self._head_bytes,
        )
        if route.max_body_bytes and self._reader is not None:
            self._reader = limited(self._reader, request.content_length, route.max_body_bytes)
        exchange.start()

    def _read_body(self, data: bytes) -> bytes:
        reader = self._reader
        assert reader is not None  # noqa: S101 (the caller has looked)
        body, rest = reader.feed(data)
        exchange = self._exchange
        if exchange is None:
            self._drained_bytes += len(body)
            if self._drained_bytes > self._limits.max_drain_bytes:
                self._close()
                return b""
        else:
            self.deadline = self._sweep.now + self._limits.body_stall_s
            if body:
                exchange.request_body(body)
        if reader.is_complete:
            self._reader = None
            if exchange is not None and self._exchange is exchange:
                # A client that sent all, but does not take what was answered meanwhile, has no more time than others.
                self.deadline = self._sweep.now + self._limits.write_stall_s if self._is_write_paused else NEVER
                exchange.request_end(reader.trailers)
            elif exchange is None:
                self._go_on()
        return rest

    # Answering: called by the exchange

    def write(self, data: bytes) -> None:
        """Bytes of an answer."""
        self.transport.write(data)

    def may_keep_alive(self, request: RequestHead) -> bool:
        """Whether the connection stays open after the answer to `request`; to be asked when its head is written."""
        # RFC 9110 section 10.1.1: a client that waits for 100 may leave the body out after any other answer, so what it
        # sends next cannot be told apart.
        if self._factory.is_draining or (request.expects_continue and self._reader is not None):
            request.keep_alive = False
        return request.keep_alive

    def exchange_done(self, exchange: Exchange) -> None:
        """The answer is written."""
        self._exchange = None
        self._report(exchange, exchange.status)
        self._go_on()

    def begin_tunnel(self, exchange: Exchange, tunnel: Tunnel, head: bytes) -> None:
        """The answer is a 101 with this `head`; what the client sent behind its request belongs to the tunnel."""
        self._exchange = self._request = None
        self._section = b""
        self._report(exchange, exchange.status)
        self._tunnel = tunnel
        self.resume_reading()
        self._sweep.discard(self)
        tunnel.start(ends_at=self._factory.tunnels_end_at)
        self.write(head)
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.from_client(data)
        if self._is_half_closed:
            self._close()  # while it waited for the 101; a tunnel ends as a whole

    def abort_exchange(self) -> None:
        """The answer broke off: the client must see that it is incomplete."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._report(exchange, exchange.status)
        self._is_closing = True
        self.transport.abortConnection()

    def _answer(self, route: HostRoute | None, request: RequestHead, request_id: bytes, status: int) -> None:
        """An answer that needs no upstream."""
        lines: tuple[bytes, ...] = ()
        # What is misdirected is not this host's to answer.
        if route is not None and status != MISDIRECTED:
            lines = route.own_lines(is_https=self.client.is_https)
        if status == PERMANENT_REDIRECT:
            lines += (self.client.https_location(request),)
        data = own_response(
            status,
            request_id=request_id,
            keep_alive=self.may_keep_alive(request),
            without_body=request.method == b"HEAD",
            lines=lines,
        )
        self.write(data)
        self.telemetry.own_answer(route, self._own_record(route, request, request_id, status, len(data)))
        self._go_on()

    def _own_record(
        self, route: HostRoute | None, request: RequestHead | None, request_id: bytes, status: int, bytes_sent: int
    ) -> Record:
        """What the access log keeps of an answer without an exchange. Its time is that of the answer."""
        now = self._factory.clock()
        bytes_received = self._head_bytes if request is not None else 0
        name = route.name if route is not None else ""
        client = (self.client.address, self.client.is_https)
        return (now, now, bytes_received, bytes_sent, status, name, *client, request_id, request, None, 0, "", 0, None)

    def _go_on(self) -> None:
        """After an answer: the client takes it, what is left of its request is dropped, then comes the next one."""
        if self._reader is not None:
            # Closing over unread bytes would reset the connection, and the answer with it.
            self.deadline = self._sweep.now + self._limits.drain_s
            self.resume_reading()
        if self._is_write_paused:
            self.deadline = self._sweep.now + self._limits.write_stall_s
        elif self._reader is None:
            self._await_next()

    def _await_next(self) -> None:
        request = self._request
        if self._factory.is_draining or (request is not None and not request.keep_alive):
            self._close()
            return
        self.deadline = self._sweep.now + self._limits.keep_alive_s
        if self._buffer or self._is_reading_paused or self._is_half_closed:
            self._next_request()

    def _next_request(self) -> None:
        self.resume_reading()
        data, self._buffer = self._buffer, b""
        is_half_closed, self._is_half_closed = self._is_half_closed, False  # only behind what waits here
        if data:
            self._consume(data)
        if is_half_closed:
            self.readConnectionLost()

    def _report(self, exchange: Exchange, status: int) -> None:
        self.telemetry.exchange_done(exchange, status, self._factory.clock())

    def _refuse(self, status: int, reason: str) -> None:
        """The client broke the protocol: a status when none was sent yet, then the end."""
        exchange, self._exchange = self._exchange, None
        if exchange is None and self._reader is not None:
            self._linger()  # what breaks off is the rest of a request that was answered already
            return
        if exchange is None:
            self.client.forget_request()  # whoever the request before was from, this is not it
        self.telemetry.client_refused(status, reason)
        lines: tuple[bytes, ...] = ()
        if exchange is not None:
            lines = exchange.route.own_lines(is_https=self.client.is_https)
            exchange.cancel()
            if exchange.response_started:
                self._report(exchange, status)
                self._is_closing = True
                self.transport.abortConnection()
                return
        request_id = self._factory.next_request_id() if exchange is None else exchange.request_id
        is_head = exchange is not None and self._request is not None and self._request.method == b"HEAD"
        data = own_response(status, request_id=request_id, keep_alive=False, without_body=is_head, lines=lines)
        self.write(data)
        if exchange is None:
            self.telemetry.own_answer(None, self._own_record(None, None, request_id, status, len(data)))
        else:
            exchange.bytes_sent += len(data)
            self._report(exchange, status)
        self._linger()

    # Ending

    def readConnectionLost(self) -> None:
        """The client sends nothing more: the end of its half, close_notify under TLS.

        RFC 9293 section 3.6: who closes may go on to receive. A client that is gone looks the same until something is
        written for it, so the answer has some time to begin, and no more.
        """
        self._is_half_closed = True
        if self._reader is not None and self._exchange is not None and self._exchange.response_started:
            self._is_closing = True
            self.transport.abortConnection()  # an answer that is not complete must not end as if it were
        elif self._is_closing or self._tunnel is not None or self._reader is not None:
            self._close()  # nobody waits for an answer to half a request; a tunnel ends as a whole
        elif self._exchange is not None:
            if self._request is not None and not self._buffer:
                self._request.keep_alive = False
            if not self._is_write_paused:
                self.deadline = self._sweep.now + self._limits.half_closed_s
        elif not self._is_write_paused:
            self._close()

    def _linger(self) -> None:
        """Closes for writing and drops what still comes in: a close over unread bytes would reset the answer away."""
        self._is_closing = True
        self.deadline = self._sweep.now + self._limits.drain_s
        self.resume_reading()
        self.transport.loseWriteConnection()

    def _close(self) -> None:
        """Closes when all is written; a client that does not read is cut off at the deadline."""
        self._is_closing = True
        self.deadline = self._sweep.now + self._limits.write_stall_s
        self.transport.loseConnection()
        if self._tunnel is not None:
            self._tunnel.end_by(self._sweep.now + CLOSE_S)  # a client that does not read keeps its connection open

    def drain(self) -> None:
        """Nothing more is begun: a tunnel gets its end, an idle connection closes, a new one has its first request."""
        if self._tunnel is not None:
            self._tunnel.end_by(self._factory.tunnels_end_at)
        elif self._exchange is None and self._reader is None and not self._buffer:
            if self._request is None:
                # The request may be on its way, and its client could not tell that it was not served.
                self.deadline = min(self.deadline, self._sweep.now + FIRST_REQUEST_S)
            else:
                self._close()

    def deadline_passed(self) -> None:
        """Nothing happened for too long; what that means depends on what was awaited."""
        exchange = self._exchange
        if self._is_half_closed and exchange is not None and exchange.response_started and not self._is_write_paused:
            return  # it reads: from here on the answer has its own deadlines
        if self._is_closing or self._is_write_paused or self._is_half_closed:
            # connectionLost cancels and reports the exchange.
            self._is_closing = True
            self.transport.abortConnection()
        elif self._reader is not None and self._exchange is None:
            self._close()
        elif self._reader is not None or self._buffer:
            self._refuse(408, "the client took too long to send its request")
        else:
            self._close()

    # Back-pressure

    def pauseProducing(self) -> None:
        """The write buffer to the client is full."""
        self._is_write_paused = True
        self.deadline = self._sweep.now + self._limits.write_stall_s
        if self._exchange is not None:
            self._exchange.pause_response()

    def resumeProducing(self) -> None:
        """The client has taken most of what was written."""
        self._is_write_paused = False
        if self._exchange is not None:
            is_awaited = self._reader is not None and not self._is_reading_paused
            self.deadline = self._sweep.now + self._limits.body_stall_s if is_awaited else NEVER
            self._exchange.resume_response()
        elif self._is_closing:
            self.deadline = self._sweep.now + self._limits.write_stall_s
        else:
            self._go_on()

    def stopProducing(self) -> None:
        """Nothing to stop; the end of the connection is told by connectionLost."""

    def pause_reading(self) -> None:
        """The client must wait; its deadline does not run meanwhile, the upstream's does."""
        if not self._is_reading_paused:
            self._is_reading_paused = True
            if not self._is_write_paused:
                self.deadline = NEVER
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """The client may go on."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            if self._reader is not None and self._exchange is not None and not self._is_write_paused:
                self.deadline = self._sweep.now + self._limits.body_stall_s
            self.transport.resumeProducing()
