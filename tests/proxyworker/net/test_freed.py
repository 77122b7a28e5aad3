"""What a connection leaves behind when it is gone: nothing, without the collector's help. On sockets of loopback."""

import asyncio
import contextlib
import datetime
import gc
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from OpenSSL import SSL

from proxyworker.build import build
from proxyworker.net.deadlines import Sweep
from proxyworker.net.doors import Door, ProxyHeaderLayer, TurnedAway
from proxyworker.net.downstream import DownstreamConnection
from proxyworker.net.downstream_factory import DownstreamFactory
from proxyworker.net.downstream_tls import TLSFactory
from proxyworker.net.exchange import Exchange
from proxyworker.net.tls import TLSLayer
from proxyworker.net.transport import LoopServerEndpoint, LoopTransport
from proxyworker.net.tunnel import Tunnel
from proxyworker.net.upstream import UpstreamConnection
from proxyworker.policy.admission import Admission
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.trusted_proxies import TrustedProxies
from proxyworker.protocol.request import RequestHead
from proxyworker.runtime import Configuration
from proxyworker.snapshot import UpstreamTLS
from tests.proxyworker.net.proxy import GET, OK, RecordedTelemetry, entry, loaded, upstream
from tests.proxyworker.websocket_upstream import server_context
from tests.support.certificates import Authority, Leaf

PATIENCE_S = 10
KINDS = (
    DownstreamConnection,
    Exchange,
    LoopTransport,
    ProxyHeaderLayer,
    RequestHead,
    SSL.Connection,
    TLSLayer,
    Tunnel,
    TurnedAway,
    UpstreamConnection,
)
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SERVERS, CLIENTS, STRANGERS = Authority("Servers CA"), Authority("Clients CA"), Authority("Strangers CA")
LOOPBACK = TrustedProxies(("127.0.0.1",))

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def living() -> Counter[str]:
    """How many there are of each kind."""
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS)


class ForgetfulTelemetry(RecordedTelemetry):
    """Exchanges and tunnels that it keeps would live on."""

    def tunnel_opened(self, tunnel: Tunnel) -> None: ...

    def tunnel_closed(self, tunnel: Tunnel) -> None: ...

    def exchange_done(self, exchange: Exchange, status: int, ended_s: float) -> None: ...


class Site:
    """A listener, and the upstream of `app.test`, both with or without TLS; the upstream demands a certificate."""

    def __init__(self, scheme: str, *, max_connections: int = 0, proxy_protocol: bool = False) -> None:
        self.scheme = scheme
        self._has_proxy_protocol = proxy_protocol
        loop = asyncio.get_running_loop()
        self.configuration = Configuration(loop=loop, sweep=Sweep(loop.time))
        self._loop = loop
        self._admission = Admission(max_connections=max_connections, max_per_client=0, trusted=LOOPBACK)
        self._factory = DownstreamFactory(
            holder=self.configuration,
            sweep=Sweep(loop.time),
            limits=DownstreamLimits(),
            telemetry=ForgetfulTelemetry(),
            clock=loop.time,
            request_id_prefix=b"test-",
            scheme=scheme,
            port=443,
            trusted_proxies=LOOPBACK,
        )

    async def start(self, directory: Path) -> None:
        context = server_context(directory, SERVERS.server("up.test"), CLIENTS.pem) if self.scheme == "https" else None
        self._upstream = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
        self.upstream_port = self._upstream.sockets[0].getsockname()[1]
        self.install(self.upstream_port, CLIENTS.client())
        served = self._factory
        if self.scheme == "https":
            served = TLSFactory(self._factory, datetime.datetime.now(datetime.UTC))  # type: ignore[assignment]
        door = Door(self._factory, served, self._admission, proxy_protocol=self._has_proxy_protocol)
        endpoint = LoopServerEndpoint(self._loop, "127.0.0.1", 0)
        self._listener = await endpoint.listen_with(door.accept).asFuture(self._loop)
        self.port: int = self._listener.getHost().port  # type: ignore[union-attr]

    def install(self, port: int, client: Leaf) -> None:
        """The host gets this port of its upstream and this client certificate."""
        tls = UpstreamTLS(client_certificate=client.chain_pem, ca_certificate=SERVERS.pem, server_name="up.test")
        there = replace(upstream(scheme=self.scheme, address="127.0.0.1"), port=port)
        host = entry(there, upstream_tls=tls, websockets=True)
        self.configuration.install([build(loaded(host, key_pem=client.key_pem.encode()))])

    async def connect(self, first: bytes) -> Streams:
        """A client that has sent this."""
        context = None
        if self.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        streams = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        streams[1].write(first)
        return streams

    def close_idle(self) -> None:
        """The connections in the pools."""
        self.configuration.close()

    def stop(self) -> None:
        """Whatever is left: a loop cannot be closed over open connections."""
        for connection in self._factory.connections:
            connection.transport.abortConnection()
        self._listener.stopListening()
        self._upstream.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers, by the path."""
    with contextlib.suppress(OSError, EOFError):
        while b" /close " not in (head := await reader.readuntil(b"\r\n\r\n")):
            if b" /silent " in head:
                await reader.read()
            elif b" /echo " in head:
                writer.write(SWITCHING)
                writer.write(await reader.readexactly(4))
            else:
                writer.write(OK)
    writer.close()


# What may become of connections. Each ends with the client gone, or cut off by the worker.


async def _is_answered(site: Site) -> None:
    reader, writer = await site.connect(GET)
    await reader.readuntil(b"ok")
    writer.close()


async def _breaks_off(site: Site) -> None:
    reader, writer = await site.connect(GET)
    await reader.readuntil(b"ok")
    _reset(writer)


async def _leaves_early(site: Site) -> None:
    _, writer = await site.connect(GET.replace(b"/ ", b"/silent ", 1))
    await _until(lambda: living()["UpstreamConnection"])
    _reset(writer)


async def _upstream_closes(site: Site) -> None:
    await _answered_502(await site.connect(GET.replace(b"/ ", b"/close ", 1)))


async def _upstream_refuses_connections(site: Site) -> None:
    site.install(1, CLIENTS.client())  # tcpmux: nobody is there
    await _answered_502(await site.connect(GET))


async def _upstream_refuses_certificate(site: Site) -> None:
    site.install(site.upstream_port, STRANGERS.client())
    await _answered_502(await site.connect(GET))


async def _upstream_is_another(site: Site) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        writer.close()

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    site.install(other.sockets[0].getsockname()[1], CLIENTS.client())
    await _answered_502(await site.connect(GET))
    other.close()


async def _answered_502(streams: Streams) -> None:
    assert b" 502 " in await streams[0].readuntil(b"\r\n\r\n")
    streams[1].close()


async def _has_a_websocket(site: Site) -> None:
    reader, writer = await site.connect(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"echo")
    assert await reader.readexactly(4) == b"echo"
    writer.close()


async def _breaks_a_websocket_off(site: Site) -> None:
    reader, writer = await site.connect(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    _reset(writer)


async def _speaks_nonsense(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"nonsense\r\n\r\n")
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """What is aborted without unread bytes looks like the end of a half otherwise."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not question():
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module", autouse=True)
def without_what_was_there() -> Iterator[None]:
    """It is not looked at before each test: in a process of many tests, that takes most of a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """What is left is left."""
    gc.collect()
    gc.disable()
    gc.freeze()  # what was there before is not among gc.get_objects()
    yield
    gc.enable()


def _leaves_nothing(
    case: Callable[[Site], Awaitable[None]], directory: Path, scheme: str, **options: bool | int
) -> None:
    async def run() -> None:
        site = Site(scheme, **options)  # type: ignore[arg-type]
        await site.start(directory)
        try:
            await case(site)
            site.close_idle()
            with contextlib.suppress(TimeoutError):
                await _until(lambda: not living())
            left.update(living())
        finally:
            site.stop()

    left = Counter[str]()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(run(), 3 * PATIENCE_S))
    assert not left


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "case",
    [
        _is_answered,
        _breaks_off,
        _leaves_early,
        _upstream_closes,
        _upstream_refuses_connections,
        _has_a_websocket,
        _breaks_a_websocket_off,
        _speaks_nonsense,
    ],
)
def test_nothing_is_left(tmp_path: Path, scheme: str, case: Callable[[Site], Awaitable[None]]) -> None:
    """Whatever ended them: connections, sessions, exchanges and tunnels are freed when the sockets are closed."""
    _leaves_nothing(case, tmp_path, scheme)


@pytest.mark.parametrize("case", [_upstream_refuses_certificate, _upstream_is_another])
def test_nothing_is_left_of_a_failed_handshake(tmp_path: Path, case: Callable[[Site], Awaitable[None]]) -> None:
    """With an upstream; `_speaks_nonsense` is one with a client."""
    _leaves_nothing(case, tmp_path, "https")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_left_behind_the_proxy_protocol(tmp_path: Path, scheme: str) -> None:
    """Of a header that is refused."""
    _leaves_nothing(_speaks_nonsense, tmp_path, scheme, proxy_protocol=True)


def test_nothing_is_left_of_those_who_are_turned_away(tmp_path: Path) -> None:
    """They are told that there are too many."""

    async def case(site: Site) -> None:
        _, first = await site.connect(b"")
        await _until(lambda: living()["DownstreamConnection"])
        reader, second = await site.connect(GET)
        assert b" 503 " in await reader.readuntil(b"\r\n\r\n")
        for writer in (first, second):
            writer.close()

    _leaves_nothing(case, tmp_path, "http", max_connections=1)
