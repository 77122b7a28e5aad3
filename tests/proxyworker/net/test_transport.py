"""Twisted transports and endpoints over libuv, on real sockets of loopback."""

import asyncio
import contextlib
import logging
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from proxyworker.net.interfaces import Address
from proxyworker.net.tls import TLSLayer
from proxyworker.net.transport import LoopListeningPort, LoopServerEndpoint, LoopTransport, connect
from tests.support.certificates import Authority
from tests.support.tls_server import accepting, server_context
from upstream_tls.tls.context import build_context
from upstream_tls.tls.spec import UpstreamTLSSpec

PATIENCE_S = 10


class Recorder(Protocol):
    """Keeps what it is told."""

    transport: LoopTransport  # type: ignore[assignment]

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Failure | None = None
        self.log: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = reason

    def pauseProducing(self) -> None:
        self.log.append("pause")

    def resumeProducing(self) -> None:
        self.log.append("resume")


class Server:
    """Listens on a free port; keeps the protocols it made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: type[Recorder] = Recorder) -> None:
        self.loop = loop
        self.made: list[Recorder] = []
        factory = Factory()
        factory.noisy = False

        def build(_: object) -> Recorder:
            self.made.append(protocol())
            return self.made[-1]

        factory.buildProtocol = build
        endpoint = LoopServerEndpoint(loop, "127.0.0.1", 0)
        self.port: LoopListeningPort = loop.run_until_complete(endpoint.listen(factory).asFuture(loop))

    @property
    def number(self) -> int:
        return self.port.getHost().port  # type: ignore[union-attr]

    def client(self) -> socket.socket:
        """A plain blocking client, accepted by the server."""
        number = len(self.made)
        client = socket.create_connection(("127.0.0.1", self.number), timeout=PATIENCE_S)
        until(self.loop, lambda: len(self.made) > number and self.made[-1].transport is not None)
        return client


def until(loop: asyncio.AbstractEventLoop, question: Callable[[], Any]) -> None:
    """Runs the loop until the answer is true."""

    async def wait() -> None:
        while not question():
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(wait(), PATIENCE_S))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop as the worker has it."""
    loop = uvloop.new_event_loop()
    yield loop
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture
def server(loop: asyncio.AbstractEventLoop) -> Iterator[Server]:
    """A server of recorders."""
    server = Server(loop)
    yield server
    for protocol in server.made:
        protocol.transport.abortConnection()
    server.port.stopListening()


def test_a_socket_that_listens_already_is_used(loop: asyncio.AbstractEventLoop) -> None:
    """What waited in it is accepted; closing the port leaves other holders of the socket as they are."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = held.getsockname()
        with socket.create_connection(address), socket.socket(fileno=os.dup(held.fileno())) as listening:
            factory = Factory.forProtocol(Recorder)
            factory.noisy = False
            endpoint = LoopServerEndpoint(loop, *address, listening=listening)
            port = loop.run_until_complete(endpoint.listen(factory).asFuture(loop))
            assert port.getHost().port == address[1]
            until(loop, lambda: not has_waiting(held))
            port.stopListening()
            until(loop, lambda: listening.fileno() == -1)
            with socket.create_connection(address):
                held.accept()[0].close()


def has_waiting(listening: socket.socket) -> bool:
    """Whether a connection waits to be accepted."""
    return bool(select.select([listening], [], [], 0)[0])


def test_interfaces(server: Server) -> None:
    """What Twisted expects of a transport and of a port."""
    with server.client():
        assert verifyObject(ITransport, server.made[0].transport)
        assert verifyObject(IPushProducer, server.made[0].transport)
        assert verifyObject(IListeningPort, server.port)


def test_data_both_ways_and_a_clean_end(server: Server) -> None:
    """What was written arrives before the end."""
    with server.client() as client:
        [protocol] = server.made
        client.sendall(b"hello")
        until(server.loop, lambda: protocol.received == b"hello")
        protocol.transport.writeSequence([b"good", b"bye"])
        protocol.transport.loseConnection()
        until(server.loop, lambda: protocol.lost)
        assert protocol.lost is not None
        assert protocol.lost.check(ConnectionDone)
        assert client.recv(100) == b"goodbye"
        assert client.recv(100) == b""


def test_abort_is_a_reset_for_the_peer(server: Server) -> None:
    """An HTTP/1.0 body that breaks off would look complete otherwise."""
    with server.client() as client:
        [protocol] = server.made
        protocol.transport.abortConnection()
        protocol.transport.abortConnection()
        until(server.loop, lambda: protocol.lost)
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        protocol.transport.abortConnection()
        protocol.transport.loseConnection()
        protocol.transport.loseWriteConnection()
        protocol.transport.pauseProducing()
        protocol.transport.resumeProducing()


def test_half_close(server: Server) -> None:
    """The peer reads the end and can still send; its own end closes the connection."""
    with server.client() as client:
        [protocol] = server.made
        protocol.transport.write(b"refused")
        protocol.transport.loseWriteConnection()
        until(server.loop, lambda: True)
        assert client.recv(100) == b"refused"
        assert client.recv(100) == b""
        client.sendall(b"more")
        until(server.loop, lambda: protocol.received == b"more")
    until(server.loop, lambda: protocol.lost)


class HalfCloseable(Recorder):
    """Answers at the end of what its peer sends, unless it shall close then."""

    closes = False

    def readConnectionLost(self) -> None:
        self.log.append("half-closed")
        if self.closes:
            self.transport.loseConnection()


@pytest.fixture
def listener(loop: asyncio.AbstractEventLoop) -> Iterator[Server]:
    """A server of protocols that want to hear of the end of a half."""
    listener = Server(loop, HalfCloseable)
    yield listener
    listener.port.stopListening()


def test_half_closed_by_the_peer(listener: Server) -> None:
    """A protocol that wants to hear of it is told once, behind the data, and can still write, pause and resume."""
    with listener.client() as client:
        [protocol] = listener.made
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        until(listener.loop, lambda: protocol.log)
        assert protocol.received == b"question"
        assert not protocol.transport.disconnecting
        protocol.transport.pauseProducing()
        protocol.transport.resumeProducing()
        protocol.transport.write(b"answer")
        protocol.transport.loseConnection()
        until(listener.loop, lambda: protocol.lost)
        assert client.recv(100) == b"answer"
        assert client.recv(100) == b""
        assert protocol.log == ["half-closed"]
        assert protocol.lost is not None
        assert protocol.lost.check(ConnectionDone)


def test_gone_peer_is_seen_when_something_is_written(listener: Server) -> None:
    """It looked half-closed; what is written for it is answered with a reset."""
    with listener.client():
        pass
    [protocol] = listener.made
    until(listener.loop, lambda: protocol.log)

    def is_lost() -> bool:
        if protocol.lost is None:
            protocol.transport.write(b"x")
        return protocol.lost is not None

    until(listener.loop, is_lost)
    assert protocol.lost is not None
    assert protocol.lost.check(ConnectionLost)


def test_protocol_may_close_at_the_end_of_its_peer(listener: Server) -> None:
    """From within the call."""
    with listener.client() as client:
        [protocol] = listener.made
        protocol.closes = True  # type: ignore[attr-defined]
        client.shutdown(socket.SHUT_WR)
        until(listener.loop, lambda: protocol.lost)
        assert client.recv(1) == b""


def test_end_by_the_peer(server: Server) -> None:
    """An orderly end is ConnectionDone and marks the transport; a reset is ConnectionLost."""
    with server.client():
        pass
    until(server.loop, lambda: server.made[0].lost)
    assert server.made[0].lost is not None
    assert server.made[0].lost.check(ConnectionDone)
    assert server.made[0].transport.disconnecting
    with server.client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(server.loop, lambda: server.made[1].lost)
    assert server.made[1].lost is not None
    assert server.made[1].lost.check(ConnectionLost)


def test_paused_reading(server: Server) -> None:
    """Nothing is read while paused, however often that is said."""
    with server.client() as client:
        [protocol] = server.made
        protocol.transport.pauseProducing()
        protocol.transport.pauseProducing()
        client.sendall(b"later")
        server.loop.run_until_complete(asyncio.sleep(0.02))
        assert protocol.received == b""
        protocol.transport.resumeProducing()
        protocol.transport.resumeProducing()
        until(server.loop, lambda: protocol.received == b"later")


def test_full_write_buffer_pauses_the_producer(server: Server) -> None:
    """And when the peer has read, it is resumed."""
    with server.client() as client:
        [protocol] = server.made
        protocol.transport.registerProducer(protocol, True)
        size = 8 * 1024 * 1024
        protocol.transport.write(b"x" * size)
        assert protocol.log == ["pause"]
        client.setblocking(False)
        read = 0

        def read_more() -> bool:
            nonlocal read
            with contextlib.suppress(BlockingIOError):
                read += len(client.recv(1024 * 1024))
            return read == size

        until(server.loop, read_more)
        until(server.loop, lambda: protocol.log == ["pause", "resume"])
        protocol.transport.unregisterProducer()
        with pytest.raises(ValueError, match="only push producers"):
            protocol.transport.registerProducer(protocol, False)


def test_addresses(server: Server) -> None:
    """Peer and host are the socket's."""
    with server.client() as client:
        [protocol] = server.made
        assert protocol.transport.getPeer() == IPv4Address("TCP", *client.getsockname())
        assert protocol.transport.getHost() == IPv4Address("TCP", "127.0.0.1", server.number)


def test_stopped_port_tells_of_all_that_it_took(server: Server) -> None:
    """One that was accepted in the turn before has its protocol when the stop is over: whoever counts misses nobody."""
    told: list[int] = []

    def connected() -> int:
        return sum(protocol.transport is not None for protocol in server.made)

    def begin() -> None:
        clients.append(socket.create_connection(("127.0.0.1", server.number), timeout=PATIENCE_S))
        # Due at once: the loop looks at its timers between accepting and telling.
        server.loop.call_later(0.001, stop)
        until_due = time.monotonic() + 0.01
        while time.monotonic() < until_due:
            pass

    def stop() -> None:
        told.append(connected())
        server.port.stopListening().addCallback(lambda _: told.append(connected()))

    clients: list[socket.socket] = []
    server.loop.call_soon(begin)
    until(server.loop, lambda: len(told) == 2)
    [client] = clients
    with client:
        assert told == [0, 1]


def test_stopped_port_takes_no_more(server: Server) -> None:
    """Connections that were accepted stay."""
    with server.client() as client:
        number = server.number
        server.port.stopListening()
        server.loop.run_until_complete(asyncio.sleep(0.01))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number), timeout=1)
        client.sendall(b"still here")
        until(server.loop, lambda: server.made[0].received == b"still here")


class Failing(Recorder):
    """Has a bug."""

    def dataReceived(self, data: bytes) -> None:
        raise RuntimeError("bug in dataReceived")


def test_an_exception_closes_its_connection_and_no_other(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, with its name; the protocol hears the end; the loop goes on."""
    server = Server(loop, Failing)
    with caplog.at_level(logging.ERROR), server.client() as first, server.client():
        first.sendall(b"x")
        until(loop, lambda: server.made[0].lost)
        assert server.made[1].lost is None
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "bug in dataReceived"
    until(loop, lambda: server.made[1].lost)
    server.port.stopListening()


# Connecting


@pytest.mark.parametrize("ends", ["closed", "reset"])
def test_listen_with(loop: asyncio.AbstractEventLoop, ends: str) -> None:
    """The protocol is chosen when the peer is known, gets every byte, and the end is told once, after it."""
    story: list[object] = []

    class Told(Recorder):
        def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
            super().connectionLost(reason)
            story.append("lost")

    made: list[Told] = []

    def accept(peer: Address) -> tuple[Protocol, Callable[[], None]]:
        assert isinstance(peer, IPv4Address)
        story.append(peer.port)
        made.append(Told())
        return made[-1], lambda: story.append("closed")

    listening = LoopServerEndpoint(loop, "127.0.0.1", 0).listen_with(accept)
    port: LoopListeningPort = loop.run_until_complete(listening.asFuture(loop))
    with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=PATIENCE_S) as client:  # type: ignore[union-attr]
        number = client.getsockname()[1]
        client.sendall(b"hello")
        until(loop, lambda: made and made[0].received == b"hello")
        client.sendall(b"again")
        until(loop, lambda: made[0].received == b"helloagain")
        made[0].transport.write(b"good bye")
        assert client.recv(100) == b"good bye"
        if ends == "reset":
            made[0].transport.abortConnection()
    until(loop, lambda: "closed" in story)
    assert story == [number, "lost", "closed"]
    port.stopListening()


def test_connect(server: Server) -> None:
    """By name too; the protocol is connected and `failed` is not called."""
    protocol, failures = Recorder(), []
    connect(server.loop, "localhost", server.number, protocol, failed=failures.append)
    until(server.loop, lambda: protocol.connected)
    protocol.transport.write(b"hi")
    until(server.loop, lambda: server.made and server.made[0].received == b"hi")
    protocol.transport.loseConnection()
    until(server.loop, lambda: protocol.lost)
    assert failures == []


def test_sessions_share_the_memory_that_reads_go_to(loop: asyncio.AbstractEventLoop) -> None:
    """Two connections with TLS, both busy both ways: neither gets a byte of the other's."""
    authority = Authority()
    theirs = server_context(authority.server("app.internal"))
    context = build_context(UpstreamTLSSpec(ca_pem=authority.pem.encode()))
    accepted: list[Recorder] = []

    def build(_: object) -> Protocol:
        accepted.append(Recorder())
        return TLSLayer(accepting(theirs), accepted[-1], established=lambda: None, failed=lambda layer: None)

    factory = Factory()
    factory.buildProtocol = build
    port = loop.run_until_complete(LoopServerEndpoint(loop, "127.0.0.1", 0).listen(factory).asFuture(loop))
    opened = [Recorder(), Recorder()]
    for above in opened:
        layer = TLSLayer(context.open("app.internal"), above, established=lambda: None, failed=lambda layer: None)
        connect(loop, "127.0.0.1", port.getHost().port, layer, failed=pytest.fail)
        until(loop, lambda above=above: above.connected and accepted and accepted[-1].connected)
    one, two = (bytes(range(256)) * 4000, bytes(range(255, -1, -1)) * 4000)
    for side in (opened, accepted):
        for start in range(0, len(one), 100_000):
            side[0].transport.write(one[start : start + 100_000])
            side[1].transport.write(two[start : start + 100_000])
    until(loop, lambda: all(len(above.received) == len(one) for above in opened + accepted))
    assert [above.received == data for above in (*opened, *accepted) for data in (one, two)] == [
        True,
        False,
        False,
        True,
    ] * 2
    for above in opened:
        above.transport.loseConnection()
    until(loop, lambda: all(above.lost for above in opened + accepted))
    port.stopListening()


@pytest.mark.parametrize(
    ("host", "port", "kind"),
    [
        ("127.0.0.1", 1, ConnectionRefusedError),
        ("no-such-host.invalid", 80, socket.gaierror),
        ("a" * 64 + ".invalid", 80, socket.gaierror),
        ("a\0b", 80, OSError),
        ("127.0.0.1", 99_999, OSError),
    ],
)
def test_connect_that_fails(loop: asyncio.AbstractEventLoop, host: str, port: int, kind: type[OSError]) -> None:
    """`failed` is called once with an OSError, whatever was wrong; an attempt never just hangs."""
    failures: list[OSError] = []
    connect(loop, host, port, Recorder(), failed=failures.append)
    until(loop, lambda: failures)
    assert len(failures) == 1
    assert isinstance(failures[0], kind)


class BrokenLoop:
    """Resolves no name, for a reason that nobody thought of."""

    async def getaddrinfo(self, *_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")


def test_connect_that_fails_for_an_unforeseen_reason(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever waits is told, instead of waiting for its deadline."""
    failures: list[OSError] = []
    broken: Any = BrokenLoop()

    async def story() -> None:
        broken.create_task = asyncio.get_running_loop().create_task
        connect(broken, "app.test", 80, Recorder(), failed=failures.append)
        await asyncio.sleep(0.01)

    loop.run_until_complete(story())
    assert [str(failure) for failure in failures] == ["unforeseen"]


def test_given_up_attempt_says_nothing(server: Server) -> None:
    """Neither connected nor failed."""
    protocol, failures = Recorder(), []
    give_up = connect(server.loop, "127.0.0.1", server.number, protocol, failed=failures.append)
    give_up()
    server.loop.run_until_complete(asyncio.sleep(0.02))
    assert not protocol.connected
    assert failures == []
