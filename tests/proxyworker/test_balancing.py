"""A worker before several upstreams on real sockets: one is killed under load, is left alone, and comes back."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from proxyworker.snapshot import HostEntry, LoadBalancing, PassiveHealth
from proxyworker.snapshot import Upstream as UpstreamEntry
from tests.proxyworker.upstream_process import UpstreamProcess
from tests.proxyworker.worker import PATIENCE_S, Worker
from tests.support.polling import eventually


def host(*upstreams: UpstreamProcess, load_balancing: LoadBalancing = "round_robin") -> HostEntry:
    """A host whose upstreams are out after two failures."""
    return HostEntry(
        host_id="h1",
        name="app.test",
        domains=("app.test",),
        upstreams=tuple(
            UpstreamEntry(upstream_id=each.name, scheme="http", address="127.0.0.1", port=each.port)
            for each in upstreams
        ),
        load_balancing=load_balancing,
        passive_health=PassiveHealth(max_failures=2, backoff_s=1.0, backoff_max_s=1.0),
    )


class Clients:
    """`with Clients(worker, 4) as clients:` keeps asking; `answers` counts by status and body."""

    def __init__(self, worker: Worker, number: int) -> None:
        self.answers: Counter[tuple[int, bytes]] = Counter()
        self._worker = worker
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def _ask(self) -> None:
        while not self._is_over.is_set():
            answer = self._worker.get("app.test")
            self.answers[answer.status, answer.body] += 1

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def is_up(worker: Worker, upstream: UpstreamProcess) -> bool:
    """By the worker's metrics."""
    line = f'aegis_upstream_up{{host="app.test",upstream="http://127.0.0.1:{upstream.port}"}} '
    return float(worker.ask("/metrics").body.decode().partition(line)[2].partition("\n")[0]) == 1


@pytest.mark.parametrize("load_balancing", ["round_robin", "least_connections"])
def test_no_request_fails_while_an_upstream_is_killed_and_returns(
    tmp_path: Path, load_balancing: LoadBalancing
) -> None:
    """What it had accepted and not answered is repeated elsewhere; it is out, and back when it answers again."""
    with UpstreamProcess("one") as one, UpstreamProcess("two") as two, UpstreamProcess("three") as three:
        for upstream in (one, two, three):
            upstream.start()
        with Worker(tmp_path, host(one, two, three, load_balancing=load_balancing)) as worker:
            with Clients(worker, 4) as clients:
                eventually(lambda: len(clients.answers) == 3, within_s=PATIENCE_S)
                assert is_up(worker, two)
                two.kill()
                eventually(lambda: not is_up(worker, two), within_s=PATIENCE_S)
                before = clients.answers[200, b"two"]
                two.start()
                eventually(lambda: is_up(worker, two), within_s=PATIENCE_S)
                eventually(lambda: clients.answers[200, b"two"] > before + 5, within_s=PATIENCE_S)
            assert set(clients.answers) == {(200, b"one"), (200, b"two"), (200, b"three")}
            assert "upstream is out: host=app.test upstream=http://127.0.0.1:" in worker.log
            assert "upstream is back: host=app.test upstream=http://127.0.0.1:" in worker.log


def test_none_up_is_503_until_one_is_back(tmp_path: Path) -> None:
    """With Retry-After meanwhile."""
    with UpstreamProcess("one") as one, UpstreamProcess("two") as two, Worker(tmp_path, host(one, two)) as worker:
        answer = eventually(lambda: (got := worker.get("app.test")).status == 503 and got, within_s=PATIENCE_S)
        assert ("Retry-After", "1") in answer.headers
        one.start()
        answer = eventually(lambda: (got := worker.get("app.test")).status == 200 and got, within_s=PATIENCE_S)
        assert answer.body == b"one"
