"""What a worker tells of its traffic is what was sent, whatever happens to the feed and to the worker."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.proxyworker.loopback import host
from tests.proxyworker.worker import PATIENCE_S, Upstream, Worker
from tests.support.polling import eventually
from tests.support.ports import free_port


def ask(worker: Worker, domain: str, times: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: worker.get(domain), range(times)))


def requests_in(told: Counter[str]) -> dict[str, int]:
    return {name: told[name] for name in ("successes", "client_errors", "server_errors") if told[name]}


def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """While the feed is away, when the worker ends in order, and in its next run."""
    with Upstream("one") as upstream:
        entry = host(upstream.port)
        with Worker(tmp_path, entry) as worker:
            ask(worker, "app.test", 40)
            ask(worker, "nobody.test", 5)
            eventually(lambda: requests_in(worker.told(entry.host_id)) == {"successes": 40}, within_s=PATIENCE_S)
            worker.install(None)
            ask(worker, "app.test", 30)
            worker.install(entry)
            eventually(lambda: requests_in(worker.told(entry.host_id)) == {"successes": 70}, within_s=PATIENCE_S)
            ask(worker, "app.test", 10)
            assert worker.stop() == 0
            assert requests_in(worker.told(entry.host_id)) == {"successes": 80}
            worker.start()
            eventually(worker.is_ready, within_s=PATIENCE_S)
            ask(worker, "app.test", 15)
            assert worker.stop() == 0
        assert requests_in(worker.told(entry.host_id)) == {"successes": 95}
        everything = worker.told("")
    assert requests_in(everything) == {"successes": 95, "client_errors": 5}
    assert sum(number for name, number in everything.items() if name.startswith(("upto_", "slower"))) == 95


def test_an_upstream_that_is_not_there(tmp_path: Path) -> None:
    """Each request is an error, each attempt a failure, none of them a handshake."""
    entry = host(free_port())
    with Worker(tmp_path, entry) as worker:
        ask(worker, "app.test", 7)
        assert worker.stop() == 0
        told = worker.told(entry.host_id)
    assert (told["server_errors"], told["upstream_failures"], told["handshakes"]) == (7, 7, 0)
