"""Client connections: reads requests one after the other, hands each to an Exchange, and writes what it answers.

Laws of this module:
- Bytes of a following request wait, unread by anybody, until the answer before them is written; while they wait, or
  while the client does not take what was written, reading is paused.
- A request captures the runtime once; the next request on the connection sees the newest.
- Whatever breaks the protocol or a limit is answered with a status and the connection closes.
"""

from collections.abc import Callable
from itertools import count
from typing import Protocol as Interface

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from proxyworker.errors import DownstreamProtocolError
from proxyworker.net.deadlines import NEVER, Sweep
from proxyworker.net.exchange import Exchange
from proxyworker.net.interfaces import Transport
from proxyworker.net.route import HostRoute, ServerName
from proxyworker.net.telemetry import Telemetry
from proxyworker.net.tunnel import Tunnel
from proxyworker.policy.forwarding import ForwardingFields
from proxyworker.policy.https import https_location
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.outcome import HOST_REJECTED, MISDIRECTED, NO_SUCH_HOST, PERMANENT_REDIRECT
from proxyworker.policy.routing import RoutingIndex
from proxyworker.protocol.body import BodyReader, ChunkedReader, LengthReader, MalformedBody
from proxyworker.protocol.request import RequestHead, parse_request
from proxyworker.protocol.response import own_response


class RuntimeHolder(Interface):
    """Holds the configuration in force; installing another is one assignment."""

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
    ) -> None:
        self.holder = holder
        self.sweep = sweep
        self.limits = limits
        self.telemetry = telemetry
        self.clock = clock
        self.scheme = scheme
        self.port = port
        self.https_port = https_port
        self.connections: set[DownstreamConnection] = set()
        self.is_draining = False
        self.tunnels_end_at = NEVER
        self._prefix = request_id_prefix
        self._counter = count(1)

    def buildProtocol(self, addr: IAddress | None) -> "DownstreamConnection":
        return DownstreamConnection(self)

    def next_request_id(self) -> bytes:
        """Unique among all requests of this installation as far as the random prefix goes."""
        return b"%b%08x" % (self._prefix, next(self._counter))

    def drain(self, *, tunnels_within_s: float) -> None:
        """Closes idle connections now, the others after their present answer, tunnels when that time has passed."""
        self.is_draining = True
        self.tunnels_end_at = self.sweep.now + tunnels_within_s
        for connection in list(self.connections):
            connection.drain()


class DownstreamConnection(Protocol):
    """One client connection."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, factory: DownstreamFactory) -> None:
        self._factory = factory
        self._sweep = factory.sweep
        self._limits = factory.limits
        self.telemetry = factory.telemetry
        self.deadline = NEVER
        self.is_https = factory.scheme == "https"
        self.server_name: ServerName | None = None  # set by the handshake, if the client asks for one
        self._buffer = b""
        self._searched = 0
        self._request: RequestHead | None = None
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._reader: BodyReader | None = None
        self._drained_bytes = 0
        self._is_write_paused = False
        self._is_reading_paused = False
        self._is_closing = False

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        peer = self.transport.getPeer()
        self.forwarding = ForwardingFields(
            client_address=getattr(peer, "host", "unknown"), scheme=self._factory.scheme, port=self._factory.port
        )
        self._factory.connections.add(self)
        self._sweep.add(self)
        self.deadline = self._sweep.now + self._limits.head_s

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
        except MalformedBody as error:
            self._refuse(400, str(error))

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
        self._begin(parse_request(data[start:end]))
        return data[end:]

    def _begin(self, request: RequestHead) -> None:
        factory = self._factory
        self._request = request
        self.deadline = NEVER
        if request.has_body:
            self._reader = ChunkedReader() if request.is_chunked else LengthReader(request.content_length or 0)
            self.deadline = self._sweep.now + self._limits.body_stall_s
            self._drained_bytes = 0
        route = factory.holder.current.find(request.host)
        status = 0
        if route is None:
            status = NO_SUCH_HOST
        elif route.force_https and not self.is_https:
            status = PERMANENT_REDIRECT
        elif self.server_name is not None and not self.server_name.admits(route, request.host):
            status = MISDIRECTED
        elif route.rejected:
            status = HOST_REJECTED
        if route is None or status:
            self._answer(route, request, status)
            return
        self._exchange = exchange = Exchange(
            self, route, request, request_id=factory.next_request_id(), started_s=factory.clock()
        )
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
                self.deadline = NEVER
                exchange.request_end()
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
        self._report(exchange, exchange.status)
        self._tunnel = tunnel
        self.resume_reading()
        self._sweep.discard(self)
        tunnel.start(ends_at=self._factory.tunnels_end_at)
        self.write(head)
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.from_client(data)

    def abort_exchange(self) -> None:
        """The answer broke off: the client must see that it is incomplete."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._report(exchange, exchange.status)
        self._is_closing = True
        self.transport.abortConnection()

    def _answer(self, route: HostRoute | None, request: RequestHead, status: int) -> None:
        """An answer that needs no upstream."""
        lines: tuple[bytes, ...] = ()
        if status == PERMANENT_REDIRECT:
            lines = (https_location(request.host, request.target, self._factory.https_port),)
        # What is misdirected is not this host's to answer.
        elif route is not None and route.hsts and self.is_https and status != MISDIRECTED:
            lines = (route.hsts,)
        self.write(
            own_response(
                status,
                request_id=self._factory.next_request_id(),
                keep_alive=self.may_keep_alive(request),
                without_body=request.method == b"HEAD",
                lines=lines,
            )
        )
        self.telemetry.exchange_done(route, status, 0.0)
        self._go_on()

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
        if self._buffer or self._is_reading_paused:
            self._next_request()

    def _next_request(self) -> None:
        self.resume_reading()
        data, self._buffer = self._buffer, b""
        if data:
            self._consume(data)

    def _report(self, exchange: Exchange, status: int) -> None:
        self.telemetry.exchange_done(exchange.route, status, self._factory.clock() - exchange.started_s)

    def _refuse(self, status: int, reason: str) -> None:
        """The client broke the protocol: a status when none was sent yet, then the end."""
        self.telemetry.client_refused(status, reason)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
            self._report(exchange, status)
            if exchange.response_started:
                self._is_closing = True
                self.transport.abortConnection()
                return
        self.write(own_response(status, request_id=self._factory.next_request_id(), keep_alive=False))
        self._linger()

    # Ending

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

    def drain(self) -> None:
        """Nothing more is begun: a tunnel gets its end, an idle connection has nothing to wait for."""
        if self._tunnel is not None:
            self._tunnel.end_by(self._factory.tunnels_end_at)
        elif self._exchange is None and self._reader is None and not self._buffer:
            self._close()

    def deadline_passed(self) -> None:
        """Nothing happened for too long; what that means depends on what was awaited."""
        if self._is_closing or self._is_write_paused:
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
            self.deadline = NEVER if self._reader is None else self._sweep.now + self._limits.body_stall_s
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
