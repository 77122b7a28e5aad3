"""A worker, real upstreams and a real Valkey: what active checks say decides where requests go."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from proxyworker.snapshot import HEALTH_BEAT, HEALTH_CHANNEL, HEALTH_HASH
from tests.proxyworker.loopback import host as single_host
from tests.proxyworker.test_balancing import Clients, host
from tests.proxyworker.upstream_process import UpstreamProcess
from tests.proxyworker.worker import PATIENCE_S, Worker
from tests.support.polling import eventually
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


@pytest.fixture
def upstreams() -> Iterator[tuple[UpstreamProcess, UpstreamProcess]]:
    """Both up."""
    with UpstreamProcess("one") as one, UpstreamProcess("two") as two:
        one.start()
        two.start()
        yield one, two


def say(valkey: Valkey, **verdicts: str) -> None:
    """As the control plane does it, with a sweep that has just ended."""
    with Redis.from_url(valkey.url) as client:
        client.set(HEALTH_BEAT, time.time())
        client.hset(HEALTH_HASH, mapping=verdicts)
        for upstream_id in verdicts:
            client.publish(HEALTH_CHANNEL, upstream_id)


def metric(worker: Worker, name: str) -> float:
    """Of those without labels."""
    return float(worker.ask("/metrics").body.decode().partition(f"\n{name} ")[2].partition("\n")[0])


def test_traffic_moves_and_no_request_fails(
    tmp_path: Path, valkey: Valkey, upstreams: tuple[UpstreamProcess, UpstreamProcess]
) -> None:
    """Away from what is down by its checks, and back; the configuration stays what it is."""
    say(valkey, one="up", two="up")
    with Worker(tmp_path, host(*upstreams), redis_url=valkey.url) as worker:
        generation = metric(worker, "aegis_configuration_generation")
        assert metric(worker, "aegis_health_feed_is_current") == 1
        with Clients(worker, 2) as clients:
            eventually(lambda: len(clients.answers) == 2, within_s=PATIENCE_S)
            say(valkey, two="down")
            down = (
                f'aegis_upstream_active_health{{host="app.test",upstream="http://127.0.0.1:{upstreams[1].port}"}} 0.0'
            )
            eventually(lambda: down in worker.ask("/metrics").body.decode(), within_s=PATIENCE_S)
            settled = clients.answers[200, b"two"]
            others = clients.answers[200, b"one"]
            eventually(lambda: clients.answers[200, b"one"] > others + 20, within_s=PATIENCE_S)
            assert clients.answers[200, b"two"] <= settled + 2  # those that were under way
            say(valkey, two="up")
            eventually(lambda: clients.answers[200, b"two"] > settled + 10, within_s=PATIENCE_S)
        assert set(clients.answers) == {(200, b"one"), (200, b"two")}
        assert metric(worker, "aegis_configuration_generation") == generation
        assert worker.stop() == 0
        assert "upstream is down by its checks: host=app.test" in worker.log
        assert "upstream is down no more by its checks: host=app.test" in worker.log
        assert "Traceback" not in worker.log


def test_a_worker_knows_before_it_is_ready(
    tmp_path: Path, valkey: Valkey, upstreams: tuple[UpstreamProcess, UpstreamProcess]
) -> None:
    """Its very first answers are right, also after it was killed; a single upstream that is down is 503 at once."""
    say(valkey, one="up", two="down", u="down")
    hosts = [host(*upstreams), single_host(upstreams[0].port, "single.test", "h2")]
    worker = Worker(tmp_path, *hosts, redis_url=valkey.url)
    for _ in range(2):
        with worker:
            assert {worker.get("app.test").body for _ in range(6)} == {b"one"}
            answer = worker.get("single.test")
            assert answer.status == 503
            assert ("Retry-After", "10") in answer.headers


def test_without_valkey_passive_health_judges_alone_after_a_while(
    tmp_path: Path, valkey: Valkey, upstreams: tuple[UpstreamProcess, UpstreamProcess]
) -> None:
    """Traffic goes on throughout; when Valkey and the checks are back, they hold again."""
    say(valkey, one="up", two="down")
    with Worker(tmp_path, host(*upstreams), redis_url=valkey.url, health_stale_after_s=4) as worker:
        with Clients(worker, 1) as clients:
            eventually(lambda: clients.answers[200, b"one"] > 5, within_s=PATIENCE_S)
            assert not clients.answers[200, b"two"]
            valkey.kill()
            eventually(lambda: clients.answers[200, b"two"] > 5, within_s=PATIENCE_S)
            assert metric(worker, "aegis_health_feed_is_current") == 0
            assert metric(worker, "aegis_health_feed_age_seconds") >= 4
            valkey.start()
            say(valkey, one="down")

            def is_left() -> bool:
                say(valkey, one="down")
                return metric(worker, "aegis_health_feed_is_current") == 1

            eventually(is_left, within_s=PATIENCE_S, every_s=0.2)
        assert set(clients.answers) == {(200, b"one"), (200, b"two")}
        say(valkey, one="down")
        eventually(lambda: {worker.get("app.test").body for _ in range(4)} == {b"two"}, within_s=PATIENCE_S)
        assert worker.log.count("passive health judges alone") == 1
        assert "Traceback" not in worker.log


def test_a_valkey_that_hangs_does_not_keep_a_worker_from_its_traffic(
    tmp_path: Path, valkey: Valkey, upstreams: tuple[UpstreamProcess, UpstreamProcess]
) -> None:
    """It is ready after a moment, and knows when the Valkey answers."""
    say(valkey, one="up", two="down")
    valkey.pause()
    with Worker(tmp_path, host(*upstreams), redis_url=valkey.url) as worker:
        assert {worker.get("app.test").body for _ in range(6)} == {b"one", b"two"}
        valkey.resume()
        say(valkey, one="up", two="down")
        eventually(lambda: {worker.get("app.test").body for _ in range(6)} == {b"one"}, within_s=PATIENCE_S)
