"""Twisted transports and endpoints over libuv.

Laws of this module: above it everything is plain Twisted (IProtocol, ITransport, producers and consumers); below it is
uvloop, because Twisted's own TCP transports cost twice the CPU on this loop (docs/performance.md). A protocol's
`dataReceived` is called by libuv directly: it must not be replaced after the connection is made.
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

LISTEN_BACKLOG = 1024

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

    def connection_lost(self) -> None:
        """The loop's signal that the socket is gone: its number may belong to another connection from now on."""
        self._is_lost = True

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
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if not self._transport.is_closing():
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


class _Bridge(asyncio.Protocol):
    """The loop's view of a Twisted protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._transport: LoopTransport | None = None
        self.data_received = protocol.dataReceived  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = LoopTransport(cast(asyncio.Transport, transport))
        self._protocol.makeConnection(self._transport)

    def eof_received(self) -> None:
        """The loop closes the connection after this: nothing should be begun on it any more."""
        if self._transport is not None:
            self._transport.disconnecting = True

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


@implementer(IListeningPort)
class LoopListeningPort:
    """A listening socket of the loop."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    def startListening(self) -> None:
        """The endpoint has done so already."""

    def stopListening(self) -> Deferred[None]:
        """Stops accepting; connections that were accepted stay."""
        self._server.close()
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def getHost(self) -> Address:
        return _address(self._server.sockets[0].getsockname())


class LoopServerEndpoint:
    """IStreamServerEndpoint on TCP. Port 0 takes a free one; `reuse_port` lets several processes share the port."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, *, reuse_port: bool = False) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._reuse_port = reuse_port

    def listen(self, factory: Factory) -> Deferred[LoopListeningPort]:
        """Fires when the socket listens; fails with OSError when it cannot."""

        def bridge() -> _Bridge:
            return _Bridge(cast(Protocol, factory.buildProtocol(None)))

        future = asyncio.ensure_future(
            self._loop.create_server(
                bridge, self._host, self._port, backlog=LISTEN_BACKLOG, reuse_port=self._reuse_port or None
            ),
            loop=self._loop,
        )
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
            await loop.create_connection(lambda: _Bridge(protocol), str(address[0]), port)
        except OSError as error:
            first = first or error
        else:
            return
    raise first or socket.gaierror(socket.EAI_NONAME, "no address")


def _address(name: Any) -> Address:
    if isinstance(name, tuple):
        kind = IPv6Address if len(name) == 4 else IPv4Address
        return kind("TCP", name[0], name[1])
    return HostnameAddress(b"unknown", 0)
