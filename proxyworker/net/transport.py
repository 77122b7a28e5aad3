"""Twisted transports and endpoints over libuv.

Laws of this module: above it everything is plain Twisted (IProtocol, ITransport, producers and consumers); below it is
uvloop, because Twisted's own TCP transports cost twice the CPU on this loop (docs/performance.md). A protocol's
`dataReceived` is called by libuv directly: it must not be replaced after the connection is made. A protocol that has
Twisted's `readConnectionLost` decides itself what the end of the peer's half means; for all others it is the end.
When a connection is gone nothing here refers to what was above it: both are freed at once, without the collector.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from proxyworker.net.interfaces import Address, Producer
from proxyworker.net.records import RECEIVED
from proxyworker.net.tls import TLSLayer

LISTEN_BACKLOG = 1024

# Given the peer of a new connection: its protocol, and what is to be called when the connection is gone.
Accept = Callable[[Address], tuple[Protocol, Callable[[], None]]]

# SO_LINGER on, zero seconds: closing sends RST.
_RESET = struct.pack("ii", 1, 0)


@implementer(ITransport, IPushProducer)
class LoopTransport:
    """One connection. `write` is libuv's own; what cannot be written at once is buffered.

    A registered push producer is paused while more than the loop's high-water mark (64 KiB) waits, and resumed below
    the low-water mark (16 KiB).
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._producer: Producer | None = None
        self.disconnecting = False
        self._is_lost = False
        self._is_read_over = False
        # Bound once: these are called for every piece of traffic.
        self.write: Callable[[bytes], None] = transport.write

    def writeSequence(self, data: Any) -> None:
        self._transport.writelines(data)

    def loseConnection(self) -> None:
        """Closes after everything buffered has been written; who needs a deadline for that aborts later."""
        self.disconnecting = True
        self._transport.close()

    def loseWriteConnection(self) -> None:
        """Ends this end's half after everything buffered has been written; the peer may go on sending."""
        if not self._transport.is_closing():
            self._transport.write_eof()

    def abortConnection(self) -> None:
        """Closes at once; what is buffered is lost, and the peer sees a reset instead of a clean end."""
        self.disconnecting = True
        if not self._is_lost:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def read_over(self) -> None:
        """The loop's signal that the peer ended its half."""
        self._is_read_over = True

    def connection_lost(self) -> None:
        """The loop's signal that the socket is gone: its number may belong to another connection from now on."""
        self._is_lost = True
        self._producer = None

    def getPeer(self) -> Address:
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> Address:
        return _address(self._transport.get_extra_info("sockname"))

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        if not streaming:
            raise ValueError("only push producers")
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        if not self._is_read_over and not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if not self._is_read_over and not self._transport.is_closing():
            self._transport.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def pause_producer(self) -> None:
        """The loop's signal that too much waits to be written."""
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_producer(self) -> None:
        """The loop's signal that most of it was written."""
        if self._producer is not None:
            self._producer.resumeProducing()


class _Bridge(asyncio.BaseProtocol):
    """The loop's view of a Twisted protocol, but for how it gets what is read."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._transport: LoopTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = LoopTransport(cast(asyncio.Transport, transport))
        self._protocol.makeConnection(self._transport)

    def eof_received(self) -> bool:
        """Without a protocol that wants to hear of it, the loop closes: nothing should be begun any more."""
        if self._transport is None:
            return False
        if (half_closed := getattr(self._protocol, "readConnectionLost", None)) is None:
            self._transport.disconnecting = True
            return False
        self._transport.read_over()
        half_closed()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport.connection_lost()
        reason = ConnectionDone() if exc is None else ConnectionLost(str(exc))
        self._protocol.connectionLost(Failure(reason))

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_producer()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_producer()


class _StreamBridge(_Bridge, asyncio.Protocol):
    """The loop makes an object of each read."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self.data_received = protocol.dataReceived  # type: ignore[method-assign]


class _SharedMemoryBridge(_Bridge, asyncio.BufferedProtocol):
    """The loop's view of a TLS layer, which takes what was read out of the memory that all layers share."""

    def __init__(self, layer: TLSLayer) -> None:
        super().__init__(layer)
        self.buffer_updated = layer.received  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return RECEIVED


class _AcceptedBridge(_StreamBridge):
    """The loop's view of a connection that a client opened: its protocol is chosen when its peer is known."""

    def __init__(self, accept: Accept) -> None:
        super().__init__(Protocol())
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = cast(asyncio.Transport, transport)
        self._transport = LoopTransport(accepted)
        self._protocol, self._closed = self._accept(self._transport.getPeer())
        self.data_received = self._protocol.dataReceived  # type: ignore[method-assign]
        accepted.set_protocol(self)  # the loop has bound the data_received of before
        self._protocol.makeConnection(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._closed()


@implementer(IListeningPort)
class LoopListeningPort:
    """A listening socket of the loop."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    def startListening(self) -> None:
        """The endpoint has done so already."""

    def stopListening(self) -> Deferred[None]:
        """Stops accepting; connections that were accepted stay. Fires when their protocols know of all of them."""
        self._server.close()
        done: Deferred[None] = Deferred()
        # The loop tells of a connection in the turn after it was accepted.
        self._server.get_loop().call_soon(done.callback, None)
        return done

    def getHost(self) -> Address:
        return _address(self._server.sockets[0].getsockname())


class LoopServerEndpoint:
    """IStreamServerEndpoint on TCP. Port 0 takes a free one; `listening` is a socket that has the port already."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int, *, listening: socket.socket | None = None
    ) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._listening = listening

    def listen(self, factory: Factory) -> Deferred[LoopListeningPort]:
        """Fires when the socket listens; fails with OSError when it cannot."""

        return self._listen(lambda: _StreamBridge(cast(Protocol, factory.buildProtocol(None))))

    def listen_with(self, accept: Accept) -> Deferred[LoopListeningPort]:
        """As `listen`; `accept` says what becomes of each connection."""
        return self._listen(lambda: _AcceptedBridge(accept))

    def _listen(self, bridge: Callable[[], _Bridge]) -> Deferred[LoopListeningPort]:
        if self._listening is not None:
            server = self._loop.create_server(bridge, sock=self._listening, backlog=LISTEN_BACKLOG)
        else:
            server = self._loop.create_server(bridge, self._host, self._port, backlog=LISTEN_BACKLOG)
        future = asyncio.ensure_future(server, loop=self._loop)
        return Deferred.fromFuture(future).addCallback(LoopListeningPort)


def connect(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    protocol: Protocol,
    *,
    failed: Callable[[OSError], None],
) -> Callable[[], object]:
    """Opens a TCP connection and makes `protocol`'s connection with it, or calls `failed` once.

    The addresses of a name are tried in the resolver's order; the first failure stands when all fail. Returns what
    gives the attempt up; after that neither happens. There is no deadline in here.
    """
    future = asyncio.ensure_future(_open(loop, host, port, protocol), loop=loop)

    def finished(done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            failed(error if isinstance(error, OSError) else OSError(str(error)))

    future.add_done_callback(finished)
    return future.cancel


async def _open(loop: asyncio.AbstractEventLoop, host: str, port: int, protocol: Protocol) -> None:
    try:
        candidates = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    first: OSError | None = None
    for *_, address in candidates:
        try:
            await loop.create_connection(lambda: _bridge(protocol), str(address[0]), port)
        except OSError as error:
            first = first or error
        else:
            return
    try:
        raise first or socket.gaierror(socket.EAI_NONAME, "no address")
    finally:
        del first  # its traceback holds this frame


def _bridge(protocol: Protocol) -> _Bridge:
    return _SharedMemoryBridge(protocol) if isinstance(protocol, TLSLayer) else _StreamBridge(protocol)


def _address(name: Any) -> Address:
    if isinstance(name, tuple):
        kind = IPv6Address if len(name) == 4 else IPv4Address
        return kind("TCP", name[0], name[1])
    return HostnameAddress(b"unknown", 0)
