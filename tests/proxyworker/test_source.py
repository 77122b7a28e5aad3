"""Where a worker's configuration comes from, and how it keeps up with it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from proxyworker import runtime
from proxyworker.net.deadlines import Sweep
from proxyworker.runtime import Configuration
from proxyworker.snapshot import LoadedEntry, MinuteOfTraffic, UpstreamFailure, UpstreamTLS, WorkerReport
from proxyworker.source import NEWS_EVERY_S, POLL_S, REPORT_EVERY_S, ConfigurationSource
from tests.proxyworker.net.proxy import entry, loaded, upstream


class FakeFeed:
    """Entries in memory; away on demand."""

    def __init__(self) -> None:
        self.entries: list[LoadedEntry] = []
        self.asked: list[int] = []
        self.reports: list[WorkerReport] = []
        self.is_away = False
        self.takes_reports = True

    def entries_since(self, generation: int) -> list[LoadedEntry]:
        if self.is_away:
            raise ConnectionError("secret dsn")
        self.asked.append(generation)
        return [entry for entry in self.entries if entry.generation > generation]

    def record_report(self, report: WorkerReport) -> None:
        if not self.takes_reports:
            raise ConnectionError
        self.reports.append(report)


class Worker:
    """A source with a feed, a clock, and threads that run at once or when the test says so."""

    def __init__(self) -> None:
        self.feed = FakeFeed()
        self.clock = Clock()
        self.configuration = Configuration(loop=None, sweep=Sweep(self.clock.seconds))  # type: ignore[arg-type]
        self.first_loads = 0
        self.failures: tuple[UpstreamFailure, ...] = ()
        self.traffic: tuple[MinuteOfTraffic, ...] = ()
        self.reported: list[WorkerReport] = []
        self.waiting: list[Callable[[], None]] | None = None
        self.source = ConfigurationSource(
            self.feed,
            self.configuration,
            clock=self.clock,
            in_thread=self._in_thread,
            report=lambda configuration: WorkerReport(
                worker_id="w",
                generation=configuration.generation,
                accepted=configuration.accepted_count,
                failures=self.failures,
                traffic=self.traffic,
            ),
            reported=self.reported.append,
            on_first_load=self._loaded,
        )

    def _loaded(self) -> None:
        self.first_loads += 1

    def _in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        if self.waiting is None:
            return maybeDeferred(function)
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: maybeDeferred(function).chainDeferred(result))
        return result

    def run_thread(self) -> None:
        assert self.waiting
        self.waiting.pop(0)()


@pytest.fixture
def worker() -> Worker:
    """Not started yet."""
    return Worker()


def test_loads_at_the_start_and_says_so_once(worker: Worker) -> None:
    """Also when there is nothing to load: a worker without hosts is ready."""
    worker.source.start()
    assert worker.source.is_loaded
    worker.clock.advance(POLL_S)
    assert worker.first_loads == 1
    assert worker.feed.asked == [0, 0]


def test_asks_for_what_is_newer_than_its_own_generation(worker: Worker) -> None:
    """Cost grows with what changed."""
    worker.feed.entries = [loaded(entry(), 3)]
    worker.source.start()
    assert worker.configuration.generation == 3
    worker.feed.entries.append(loaded(entry(domain="b.test", host_id="2"), 7))
    worker.source.look()
    worker.source.look()
    assert worker.feed.asked == [0, 3, 7]
    assert worker.configuration.accepted_count == 2


def test_a_large_load_leaves_the_reactor_its_turns(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part of it is in force while the rest waits; loaded is it when all is."""
    monkeypatch.setattr(runtime, "HOSTS_AT_ONCE", 1)
    worker.feed.entries = [loaded(entry(domain=f"{name}.test", host_id=name), 1) for name in ("a", "b")]
    worker.source.start()
    assert worker.configuration.current.find(b"a.test") is not None
    assert worker.configuration.current.find(b"b.test") is None
    assert not worker.source.is_loaded
    worker.clock.pump([0.0] * 2)
    assert worker.configuration.current.find(b"b.test") is not None
    assert worker.source.is_loaded


def test_polls_without_any_signal(worker: Worker) -> None:
    """A lost signal costs seconds, not a change."""
    worker.source.start()
    worker.feed.entries = [loaded(entry(), 1)]
    worker.clock.advance(POLL_S - 0.1)
    assert worker.configuration.generation == 0
    worker.clock.advance(0.1)
    assert worker.configuration.generation == 1
    worker.source.stop()
    worker.source.stop()
    worker.clock.pump([POLL_S] * 3)
    assert len(worker.feed.asked) == 2


def test_one_load_at_a_time_and_one_more_after_it(worker: Worker) -> None:
    """Signals during a load lead to exactly one further look: the change may have come after the query."""
    worker.waiting = []
    worker.source.start()
    for _ in range(5):
        worker.source.look()
    assert len(worker.waiting) == 1
    worker.feed.entries = [loaded(entry(), 1)]
    worker.run_thread()  # the query
    worker.run_thread()  # its report
    assert worker.feed.asked == [0]
    assert len(worker.waiting) == 1
    worker.run_thread()
    assert worker.feed.asked == [0, 1]
    assert worker.waiting == []


def test_a_feed_that_is_away_changes_nothing(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """The worker serves what it has, says so once without the error's text, and says when the feed is back."""
    worker.feed.entries = [loaded(entry(), 1)]
    worker.source.start()
    caplog.clear()
    worker.feed.is_away = True
    with caplog.at_level(logging.INFO, "aegis.proxy"):
        worker.clock.pump([POLL_S] * 3)
        assert worker.configuration.accepted_count == 1
        worker.feed.is_away = False
        worker.clock.advance(POLL_S)
    assert [record.getMessage() for record in caplog.records] == [
        "configuration source is away, serving what is loaded: ConnectionError",
        "configuration source is back",
    ]


def test_not_loaded_while_the_feed_was_always_away(worker: Worker) -> None:
    """A worker without any configuration opens no listener."""
    worker.feed.is_away = True
    worker.source.start()
    assert not worker.source.is_loaded
    worker.feed.is_away = False
    worker.clock.advance(POLL_S)
    assert worker.first_loads == 1


def test_rejected_entries_are_logged_by_name(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason; the others are installed."""
    bad = entry(upstream(scheme="https"), domain="bad.test", upstream_tls=UpstreamTLS(ca_certificate="x"))
    worker.feed.entries = [loaded(bad, 1), loaded(entry(host_id="2"), 2)]
    with caplog.at_level(logging.INFO, "aegis.proxy"):
        worker.source.start()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "configuration generation 2: 2 hosts changed"
    assert messages[1].startswith("host bad.test rejected: bad_pem: ")
    assert worker.configuration.accepted_count == 1


def test_reports_when_something_changed_and_from_time_to_time(worker: Worker) -> None:
    """The control plane sees each new generation at once, and that the worker is alive."""
    worker.source.start()
    worker.clock.pump([POLL_S] * 2)
    assert [report.generation for report in worker.feed.reports] == [0]
    worker.feed.entries = [loaded(entry(), 1)]
    worker.source.look()
    assert [report.generation for report in worker.feed.reports] == [0, 1]
    worker.clock.pump([POLL_S] * int(REPORT_EVERY_S // POLL_S))
    assert len(worker.feed.reports) == 3


def failure(number: int) -> UpstreamFailure:
    """The failure of one upstream, which is new each time."""
    return UpstreamFailure(
        host_id="h", upstream_id="u", phase="tls", code="expired", reason="r", request_id="i", at=0.0, count=number
    )


def test_failures_are_reported_every_few_seconds_at_most(worker: Worker) -> None:
    """Sooner than without any, but not with every signal: a broken upstream must not become a load on the database."""
    worker.source.start()
    for number in range(5):
        worker.failures = (failure(number),)
        worker.source.look()
    assert len(worker.feed.reports) == 1
    worker.clock.advance(max(POLL_S, NEWS_EVERY_S))
    assert [report.failures for report in worker.feed.reports] == [(), (failure(4),)]
    assert worker.reported == worker.feed.reports


def test_a_new_generation_takes_the_failures_along(worker: Worker) -> None:
    """It is reported at once in any case."""
    worker.source.start()
    worker.failures = (failure(1),)
    worker.feed.entries = [loaded(entry(), 1)]
    worker.source.look()
    assert [(report.generation, report.failures) for report in worker.feed.reports] == [(0, ()), (1, (failure(1),))]


def test_a_failure_behind_a_change_is_reported_by_the_next_poll(worker: Worker) -> None:
    """Whoever has just saved a host waits for it in the admin; the one after would be ten seconds later."""
    worker.source.start()
    worker.clock.advance(POLL_S / 2)
    worker.feed.entries = [loaded(entry(), 1)]
    worker.source.look()
    worker.failures = (failure(1),)
    worker.clock.advance(POLL_S / 2)
    assert [report.failures for report in worker.feed.reports] == [(), (), (failure(1),)]


def test_a_report_that_was_not_taken_is_not_reported(worker: Worker) -> None:
    """Who keeps the failures hears only of what the feed has."""
    worker.feed.takes_reports = False
    worker.failures = (failure(1),)
    worker.source.start()
    assert worker.reported == []
    worker.feed.takes_reports = True
    worker.clock.advance(POLL_S)
    assert [report.failures for report in worker.reported] == [(failure(1),)]


TRAFFIC = (MinuteOfTraffic(host_id="h", generation=1, start_s=60, part=0, counts=(1,)),)


def test_traffic_is_told_at_a_signal_and_not_at_each(worker: Worker) -> None:
    """Who watches it sends one every other second; signals by the hundred are no reason for as many writes."""
    worker.source.start()
    told = len(worker.feed.reports)
    worker.clock.advance(NEWS_EVERY_S)
    worker.traffic = TRAFFIC
    for _ in range(100):
        worker.source.look()
    assert [report.traffic for report in worker.feed.reports[told:]] == [TRAFFIC]
    assert worker.reported[-1].traffic == TRAFFIC
    worker.clock.advance(NEWS_EVERY_S)
    worker.source.look()
    assert len(worker.feed.reports) == told + 2


def test_a_worker_that_ends_tells_what_is_left(worker: Worker) -> None:
    """Once, and not when there is nothing; a feed that is away or hangs does not keep it."""
    worker.source.start()
    worker.source.stop()
    told = len(worker.feed.reports)
    assert ended(worker)
    assert len(worker.feed.reports) == told
    worker.traffic = TRAFFIC
    assert ended(worker)
    assert [report.traffic for report in worker.feed.reports[told:]] == [TRAFFIC]
    worker.feed.takes_reports = False
    assert ended(worker)
    worker.waiting = []
    hanging = Deferred.fromCoroutine(worker.source.report_at_last(2.0))
    assert not hanging.called
    worker.clock.advance(2.0)
    assert hanging.called


def ended(worker: Worker) -> bool:
    """Whether the last report was made, or given up, at once."""
    return Deferred.fromCoroutine(worker.source.report_at_last(2.0)).called
