"""sweep: from a host in the database to its state there and in the feed, with real parts."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection
from redis import Redis

from healthchecks import sweep as sweep_module
from healthchecks.models import HealthSummary, UpstreamHealth
from healthchecks.recording import Result
from healthchecks.runner import Runner
from healthchecks.sweep import Sweeper, process_sweeper, write_results
from hosts.specs import UpstreamSpec
from proxyworker.snapshot import HEALTH_BEAT, HEALTH_DOWN, HEALTH_HASH, HEALTH_UP
from tests.healthchecks.examples import checked_host
from tests.support.plain_upstream import answering
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def valkey(settings: Any) -> Iterator[Valkey]:
    with running_valkey() as server:
        settings.AEGIS_REDIS_URL = server.url
        yield server


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Sweeper, list[Result]]]:
    """A sweeper, and what its runner would have written: the test's thread has the database."""
    kept: list[Result] = []
    runner = Runner(kept.extend)
    yield Sweeper(runner), kept
    runner.stop()


@pytest.mark.django_db
def test_from_a_host_to_the_feed(valkey: Valkey, results: tuple[Sweeper, list[Result]], monkeypatch: Any) -> None:
    """One upstream that answers and one that nobody listens at."""
    # The threads of production close connections that are old; the test's one connection is in a transaction.
    monkeypatch.setattr(sweep_module, "close_old_connections", lambda: None)
    sweeper, kept = results
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        plain = [UpstreamSpec(scheme="http", address="127.0.0.1", port=number) for number in (port, free_port())]
        host = checked_host(upstreams=plain, interval_s=1, timeout_s=0.9, healthy_after=1, unhealthy_after=1)
        sweeper.sweep()
        eventually(lambda: len(kept) == 2, within_s=20)
        write_results(kept)
    up, down = (str(upstream.pk).encode() for upstream in host.upstreams.all())
    with Redis.from_url(valkey.url) as client:
        assert client.hgetall(HEALTH_HASH) == {up: HEALTH_UP, down: HEALTH_DOWN}
        assert int(client.get(HEALTH_BEAT)) > 1_700_000_000
    codes = HealthSummary.objects.order_by("failures").values_list("codes", flat=True)
    assert list(codes) == [{}, {"connection_refused": 1}]


@pytest.mark.django_db
def test_one_sweep_at_a_time(valkey: Valkey, results: tuple[Sweeper, list[Result]], monkeypatch: Any) -> None:
    """One that comes while another is under way does nothing, and the next one works again."""
    sweeper, _ = results
    calls: list[int] = []

    def synchronise(**_: object) -> None:
        calls.append(1)
        sweeper.sweep()

    monkeypatch.setattr(sweep_module, "synchronise", synchronise)
    sweeper.sweep()
    sweeper.sweep()
    assert len(calls) == 2


@pytest.mark.django_db
def test_a_runner_that_died_is_replaced(valkey: Valkey, monkeypatch: Any) -> None:
    """By the next sweep."""
    made: list[Runner] = []

    def make(write: Any) -> Runner:
        made.append(Runner(write))
        return made[-1]

    monkeypatch.setattr(sweep_module, "Runner", make)
    sweeper = Sweeper()
    sweeper.sweep()
    sweeper.sweep()
    assert len(made) == 1
    made[0].stop()
    sweeper.sweep()
    assert len(made) == 2
    made[1].stop()


@pytest.mark.django_db(transaction=True)
def test_results_are_written_by_the_thread_of_the_runner(valkey: Valkey) -> None:
    """With a connection of its own, as in production."""
    closed = threading.Event()

    def write(batch: Sequence[Result]) -> None:
        try:
            write_results(batch)
        finally:
            connection.close()  # the test database is removed while this thread still lives
            closed.set()

    runner = Runner(write)
    try:
        upstream = UpstreamSpec(scheme="http", address="127.0.0.1", port=free_port())
        checked_host(upstreams=[upstream], interval_s=1, timeout_s=0.9, unhealthy_after=1)
        Sweeper(runner).sweep()
        eventually(closed.is_set, within_s=20)
    finally:
        runner.stop()
    assert UpstreamHealth.objects.get().state == "unhealthy"


def test_a_process_has_one() -> None:
    """Whichever task asks for it."""
    assert process_sweeper() is process_sweeper()
