"""web_worker: slow clients cost no thread and never stop the others. Real gunicorn, with Aegis's configuration."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from gunicorn.config import Config

from aegis_site import gunicorn_config, web_worker
from aegis_site.client_socket import ClientSocket
from aegis_site.environment import BASE_DIR
from tests.support.polling import eventually

MORE_THAN_THREADS = gunicorn_config.threads + 8
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n"


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The application that the server of these tests runs: what was sent, or many bytes for `/many`."""
    if environ["PATH_INFO"] == "/many":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (bytes(1_000_000) for _ in range(100))
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        argv = [sys.executable, "-m", "gunicorn", "-c", "python:aegis_site.gunicorn_config"]
        argv += ["--bind", f"fd://{listening.fileno()}", "tests.aegis_site.test_web_worker:echo"]
        environment = {**os.environ, "PYTHONPATH": str(BASE_DIR), "DJANGO_SETTINGS_MODULE": "tests.settings"}
        process = subprocess.Popen(argv, cwd=BASE_DIR, env=environment, pass_fds=[listening.fileno()])
        try:
            yield listening.getsockname()[1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@contextlib.contextmanager
def connections(port: int, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as opened:
        made = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(count)]
        for connection in made:
            connection.sendall(sent)
        yield made


def answer(connection: socket.socket) -> bytes:
    """All until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(port: int, body: bytes = b"") -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connections(port, 1, head + body) as (connection,):
        return answer(connection)


def test_half_a_header_section_holds_no_thread(port: int) -> None:
    """More such clients than threads, and the next one has its answer: before, nobody had one any more."""
    with connections(port, MORE_THAN_THREADS, REQUEST):
        assert ask(port, b"hello").endswith(b"hello")


def test_a_header_section_may_come_in_pieces(port: int) -> None:
    """With what follows it."""
    with connections(port, 1, b"") as (connection,):
        for byte in REQUEST + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc":
            connection.sendall(bytes([byte]))
        assert answer(connection).endswith(b"abc")


def test_clients_that_do_not_close_hold_up_nobody(port: int) -> None:
    """The server has closed its side of their connections and goes on; before, each cost two seconds of all."""
    with connections(port, MORE_THAN_THREADS, REQUEST + b"Connection: close\r\n\r\n") as idle:
        assert all(answer(connection).startswith(b"HTTP/1.1 200") for connection in idle)
        assert ask(port, b"hello").endswith(b"hello")


def test_a_connection_is_kept_for_the_next_request(port: int) -> None:
    """One after the other, and both at once."""
    with connections(port, 1, REQUEST + b"\r\n") as (connection,):
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        eventually(lambda: _is_answered_twice(connection), within_s=10)


def _is_answered_twice(connection: socket.socket) -> bool:
    connection.sendall(REQUEST + b"\r\n" + REQUEST + b"Connection: close\r\n\r\n")
    return answer(connection).count(b"HTTP/1.1 200") == 2


def test_a_large_body_and_a_large_answer_arrive_whole(port: int) -> None:
    """Twelve megabytes in, a hundred out."""
    body = os.urandom(12_000_000)
    assert ask(port, body).endswith(body[-1_000_000:])
    with connections(port, 1, b"GET /many HTTP/1.0\r\n\r\n") as (connection,):
        assert len(answer(connection)) > 100_000_000


class FakePoller:
    def __init__(self) -> None:
        self.registered: set[Any] = set()

    def register(self, client: Any, events: int, data: Any) -> None:
        self.registered.add(client)

    def unregister(self, client: Any) -> None:
        self.registered.remove(client)


@pytest.fixture
def worker() -> Iterator[web_worker.WebWorker]:
    made = web_worker.WebWorker(1, os.getppid(), [], None, 30, Config(), None)
    made.poller = FakePoller()
    yield made
    made.tmp.close()


def accepted(worker: web_worker.WebWorker) -> tuple[web_worker.Connection, socket.socket]:
    ours, theirs = socket.socketpair()
    connection = web_worker.Connection(worker, ClientSocket(fileno=ours.detach()), ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.nr_conns += 1
    return connection, theirs


def test_a_header_section_that_takes_too_long_is_given_up(
    worker: web_worker.WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed, counted and looked after no more."""
    monkeypatch.setattr(web_worker, "HEAD_S", 0)
    connection, theirs = accepted(worker)
    with theirs:
        theirs.sendall(REQUEST)
        worker.enqueue_req(connection)
        worker.murder_pending()
        assert theirs.recv(10) == b""
    assert (worker.nr_conns, len(worker.pending_conns), worker.poller.registered) == (0, 0, set())


def test_a_stopping_worker_waits_for_no_spare_connection(worker: web_worker.WebWorker) -> None:
    """Browsers open some that they never use; who has sent something may go on."""
    (spare, spare_client), (begun, begun_client) = accepted(worker), accepted(worker)
    with spare_client, begun_client:
        begun_client.sendall(REQUEST)
        for connection in (spare, begun):
            worker.enqueue_req(connection)
        worker.alive = False
        worker.murder_pending()
        assert list(worker.pending_conns) == [begun]
        begun.close()


def test_a_client_that_stops_in_the_middle_is_shut_down(
    worker: web_worker.WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that reads for it finds an end."""
    monkeypatch.setattr("aegis_site.client_socket.PATIENCE_S", 0.0)
    connection, theirs = accepted(worker)
    connection.sock.setblocking(True)
    connection.sock.begin()
    worker._in_threads.add(connection)
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(connection.sock.recv(10)))
    with theirs:
        thread.start()
        eventually(lambda: _ends(worker, thread), within_s=10)
    assert received == [b""]
    connection.close()


def _ends(worker: web_worker.WebWorker, thread: threading.Thread) -> bool:
    worker.murder_pending()
    return not thread.is_alive()


def test_a_connection_lingers_for_a_while_only(worker: web_worker.WebWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts until it is closed, so that nobody has more of them than connections are admitted."""
    monkeypatch.setattr(web_worker, "LINGER_S", 0)
    connection, theirs = accepted(worker)
    with theirs:
        connection.close(graceful=True)
        assert theirs.recv(10) == b""
        assert worker.nr_conns == 2  # gunicorn takes off one itself
        worker.murder_pending()
    assert (worker.nr_conns, worker.poller.registered) == (1, set())
