"""Several workers seen from outside as one: real unix sockets, a reactor of the test's own."""

import contextlib
import os
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor

from proxyworker import worker_group
from proxyworker.worker_group import WorkerGroup, management_path

T = TypeVar("T")

METRICS = b"# HELP aegis_requests_total Requests.\n# TYPE aegis_requests_total counter\naegis_requests_total %d.0\n"


@contextlib.contextmanager
def worker(path: Path, *, status: int = 200, metrics: bytes = METRICS % 1) -> Iterator[None]:
    """Answers `/readyz` with `status` and `/metrics` with `metrics` on a unix socket."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_metrics = self.path == "/metrics"
            self.send_response(200 if is_metrics else status)
            self.end_headers()
            self.wfile.write(metrics if is_metrics else b'{"reason": "still loading"}')

        def log_message(self, *_: object) -> None:
            """Not worth a line."""

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def silent(path: Path) -> Iterator[None]:
    """Takes connections and says nothing: a process that was stopped, or has no time."""
    with socketserver.UnixStreamServer(str(path), BaseHTTPRequestHandler):
        yield


def run(ask: Callable[[WorkerGroup], Coroutine[Any, Any, T]], group: Callable[[Any], WorkerGroup]) -> T:
    """What `ask` gives, on a reactor that runs just for it."""
    reactor: Any = SelectReactor()
    results: list[Any] = []

    def begin() -> None:
        Deferred.fromCoroutine(ask(group(reactor))).addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    answer: T = results[0]
    return answer


def problem(directory: Path, count: int) -> str:
    return run(
        lambda group: group.problem(), lambda reactor: WorkerGroup(reactor=reactor, directory=directory, count=count)
    )


def metrics(directory: Path, count: int) -> bytes:
    return run(
        lambda group: group.metrics(), lambda reactor: WorkerGroup(reactor=reactor, directory=directory, count=count)
    )


def dead_pid() -> int:
    """Of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_ready_when_every_worker_is(tmp_path: Path) -> None:
    """Those that are not are named, with their own reason."""
    here = os.getpid()
    with worker(tmp_path / f"1-{here}.sock"), worker(tmp_path / f"3-{here}.sock", status=503):
        assert problem(tmp_path, 3) == "worker 2: does not run; worker 3: still loading"
        with worker(tmp_path / f"2-{here}.sock"):
            assert problem(tmp_path, 2) == ""


def test_a_successor_is_enough(tmp_path: Path) -> None:
    """The predecessor, which is ending, is not asked for more."""
    with worker(tmp_path / f"1-{os.getpid()}.sock"), worker(tmp_path / f"1-{os.getppid()}.sock", status=503):
        assert problem(tmp_path, 1) == ""


def test_a_killed_worker_is_missed_and_its_socket_removed(tmp_path: Path) -> None:
    """Nothing piles up in the directory over many crashes."""
    path = tmp_path / f"1-{dead_pid()}.sock"
    with socketserver.UnixStreamServer(str(path), BaseHTTPRequestHandler):
        pass
    assert path.exists()
    assert problem(tmp_path, 1) == "worker 1: does not run"
    assert not path.exists()


def test_a_living_worker_that_does_not_listen_yet_keeps_its_socket(tmp_path: Path) -> None:
    """Between bind and listen a connection is refused; the socket must not be taken away under its owner."""
    path = tmp_path / f"1-{os.getpid()}.sock"
    with socketserver.UnixStreamServer(str(path), BaseHTTPRequestHandler):
        pass
    assert problem(tmp_path, 1) == "worker 1: does not answer"
    assert path.exists()


def test_metrics_are_merged_and_tell_who_answered(tmp_path: Path) -> None:
    """One sum, and one line for each worker that there should be."""
    here = os.getpid()
    with worker(tmp_path / f"1-{here}.sock", metrics=METRICS % 4), worker(tmp_path / f"2-{here}.sock"):
        lines = metrics(tmp_path, 3).decode().splitlines()
    assert "aegis_requests_total 5.0" in lines
    assert [line for line in lines if line.startswith("aegis_worker_up")] == [
        'aegis_worker_up{worker="1"} 1.0',
        'aegis_worker_up{worker="2"} 1.0',
        'aegis_worker_up{worker="3"} 0.0',
    ]


def test_a_worker_that_hangs_costs_a_second_and_no_more(tmp_path: Path) -> None:
    """The others are shown in time."""
    here = os.getpid()
    with worker(tmp_path / f"1-{here}.sock"), silent(tmp_path / f"2-{here}.sock"):
        started_s = time.monotonic()
        document = metrics(tmp_path, 2).decode()
        took_s = time.monotonic() - started_s
    assert "aegis_requests_total 1.0" in document
    assert 'aegis_worker_up{worker="2"} 0.0' in document
    assert worker_group.ANSWER_WITHIN_S * 0.9 < took_s < 8


def test_an_answer_without_end_is_not_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with one worker does not fill the memory of the process that keeps all."""
    monkeypatch.setattr(worker_group, "MAX_ANSWER_BYTES", 1000)
    with worker(tmp_path / f"1-{os.getpid()}.sock", metrics=b"x" * 200_000):
        assert 'aegis_worker_up{worker="1"} 0.0' in metrics(tmp_path, 1).decode()


def test_the_path_tells_worker_and_process() -> None:
    """Two runs of one worker do not meet."""
    assert management_path(Path("/d"), 3) == Path(f"/d/3-{os.getpid()}.sock")
