"""Peers that are slow on purpose: memory is bounded, others are served, deadlines are kept.

The tests turn for as long as it takes: each turn sends every slow client's next byte and asks for another host's page,
so nothing waits for a guess of time.
"""

import contextlib
import selectors
import socket
import time
from pathlib import Path

import pytest

from proxyworker.net.deadlines import TICK_S
from proxyworker.snapshot import Deadlines, HostEntry
from proxyworker.snapshot import Upstream as UpstreamEntry
from tests.proxyworker.loopback import listening
from tests.proxyworker.worker import PATIENCE_S, Upstream, Worker

LARGE = 50 * 1024 * 1024
HEAD_S = 2.0
STALL_S = 1.0


def host(name: str, port: int) -> HostEntry:
    """A host named like its domain, with one http upstream on loopback."""
    upstream = UpstreamEntry(upstream_id="u", scheme="http", address="127.0.0.1", port=port)
    deadlines = Deadlines(body_stall_s=STALL_S)
    return HostEntry(host_id=name, name=name, domains=(name,), upstreams=(upstream,), deadlines=deadlines)


@pytest.mark.parametrize("number", [40, pytest.param(500, marks=pytest.mark.soak)])
def test_slow_loris(tmp_path: Path, number: int) -> None:
    """Each is told 408 when its time is over, whatever it still sends, and costs less than 20 KB until then."""
    with (
        Upstream("fast") as upstream,
        Worker(tmp_path, host("fast.test", upstream.port), limits={"head_s": HEAD_S}) as worker,
        contextlib.ExitStack() as stack,
        selectors.DefaultSelector() as selector,
    ):
        assert worker.get("fast.test").status == 200
        before = worker.rss_bytes
        began = time.monotonic()
        for _ in range(number):
            client = stack.enter_context(worker.connect())
            client.sendall(b"GET / HTTP/1.1\r\nHost: fast.test\r\nX: ")
            selector.register(client, selectors.EVENT_READ)
        largest = 0
        while clients := [key.fileobj for key in selector.get_map().values()]:
            assert time.monotonic() < began + HEAD_S + PATIENCE_S
            for slow in clients:
                assert isinstance(slow, socket.socket)
                slow.sendall(b"a")
            assert worker.get("fast.test").body == b"fast"
            largest = max(largest, worker.rss_bytes)
            for key, _ in selector.select(0):
                answered = key.fileobj
                assert isinstance(answered, socket.socket)
                assert answered.recv(100).startswith(b"HTTP/1.1 408 ")
                assert time.monotonic() > began + HEAD_S - TICK_S
                selector.unregister(answered)
        assert largest - before < number * 20_000 + 4_000_000
        assert f'aegis_client_refusals_total{{status="408"}} {number}.0' in worker.ask("/metrics").body.decode()


def test_client_that_never_reads(tmp_path: Path) -> None:
    """Of a 50 MB response next to nothing is held; the client is cut off at its deadline, and the upstream with it."""
    with (
        listening() as upstream,
        Upstream("fast") as fast,
        Worker(
            tmp_path,
            host("slow.test", upstream.getsockname()[1]),
            host("fast.test", fast.port),
            limits={"write_stall_s": STALL_S},
        ) as worker,
        worker.connect() as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
        backend, _ = upstream.accept()
        with backend:
            backend.recv(65_536)
            before = worker.rss_bytes
            backend.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            largest = _send_until_cut_off(worker, backend)
            assert largest - before < 8_000_000
        with pytest.raises(ConnectionResetError):
            _read_to_the_end(client)


def test_upstream_that_never_reads(tmp_path: Path) -> None:
    """Of a 50 MB request next to nothing is held; the client is told 504 at the deadline of the host."""
    with (
        listening() as upstream,
        Upstream("fast") as fast,
        Worker(tmp_path, host("slow.test", upstream.getsockname()[1]), host("fast.test", fast.port)) as worker,
        worker.connect() as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nHost: slow.test\r\nContent-Length: %d\r\n\r\n" % LARGE)
        backend, _ = upstream.accept()
        with backend:
            before = worker.rss_bytes
            largest = _send_until_cut_off(worker, client)
            assert largest - before < 8_000_000
            assert client.recv(100).startswith(b"HTTP/1.1 504 ")


def _read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(1024 * 1024):
        pass


def _send_until_cut_off(worker: Worker, sender: socket.socket) -> int:
    """Sends what is taken, with a request to another host in between, until there is an answer or an end.

    The most memory that the worker had meanwhile.
    """
    piece = b"x" * 262_144
    largest = 0
    limit = time.monotonic() + PATIENCE_S
    sender.setblocking(False)
    with selectors.DefaultSelector() as selector, contextlib.suppress(ConnectionError):
        selector.register(sender, selectors.EVENT_READ)
        while not selector.select(0):
            assert time.monotonic() < limit
            with contextlib.suppress(BlockingIOError):
                sender.send(piece)
            assert worker.get("fast.test").body == b"fast"
            largest = max(largest, worker.rss_bytes)
    sender.settimeout(PATIENCE_S)
    return largest
