"""Aegis alone with thousands of WebSockets that carry nothing: memory for each, by HTTP and by HTTPS.

Laws of this module: each WebSocket is a client connection, a mutual TLS connection to the upstream and the tunnel
between them. Its handshake and one echoed message come first, so that no buffer is counted that was never needed.
"""

import asyncio
import resource
import ssl
import time

from tests.bench.echo import CLIENT_FRAME, SERVER_FRAME
from tests.bench.generator import UPGRADE
from tests.bench.scenarios import DOMAIN
from tests.bench.usage import usage_of
from tests.proxyworker.worker import Worker

OPENING_AT_ONCE = 32
PATIENCE_S = 60

# The upstream's end and the echo server take two more, in processes of their own.
DESCRIPTORS_PER_WEBSOCKET = 2


def raise_descriptor_limit() -> int:
    """Lets this process and its children have as many open files as they may: enough for how many WebSockets?"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (hard - 500) // DESCRIPTORS_PER_WEBSOCKET


def measure(worker: Worker, scheme: str, *, count: int) -> dict[str, float]:
    """RSS for each of `count` idle WebSockets. The worker must be a fresh one: what others left free would be used."""
    port, context = (worker.https, _anything_goes()) if scheme == "https" else (worker.http, None)
    return asyncio.run(_measure(worker, port, context, count))


async def _measure(worker: Worker, port: int, context: ssl.SSLContext | None, count: int) -> dict[str, float]:
    before = usage_of(worker.process.pid)
    gate = asyncio.Semaphore(OPENING_AT_ONCE)
    started_s = time.monotonic()
    opened = await asyncio.gather(*(_open(port, context, gate) for _ in range(count)))
    opened_s = time.monotonic() - started_s
    used = usage_of(worker.process.pid).since(before)
    await asyncio.gather(*map(_exchange, opened))
    for _, writer in opened:
        writer.transport.abort()
    return {
        "websockets": count,
        "rss_per_websocket_bytes": (used.rss_bytes - before.rss_bytes) / count,
        "opened_per_s": count / opened_s,
        "cpu_ms_to_open": (used.user_s + used.system_s) / count * 1e3,
    }


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _open(port: int, context: ssl.SSLContext | None, gate: asyncio.Semaphore) -> Streams:
    async with gate, asyncio.timeout(PATIENCE_S):
        server_hostname = DOMAIN if context else None
        streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_hostname)
        reader, writer = streams
        writer.write(UPGRADE % (b"/echo", DOMAIN.encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        await _exchange(streams)
        return streams


async def _exchange(streams: Streams) -> None:
    """A message there and back: it still works."""
    reader, writer = streams
    writer.write(CLIENT_FRAME)
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readexactly(len(SERVER_FRAME)) == SERVER_FRAME


def _anything_goes() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the worker's default certificate names no host
    return context
