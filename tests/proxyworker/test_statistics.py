"""What a worker counts of each host and minute, until the control plane has it."""

import dataclasses
import random
from collections import Counter

import pytest

from proxyworker import statistics
from proxyworker.errors import Phase, UpstreamError
from proxyworker.net.route import HostRoute
from proxyworker.policy.balancing import Single
from proxyworker.snapshot import MAX_REPORTED_TRAFFIC, TRAFFIC_COLUMNS, MinuteOfTraffic
from proxyworker.statistics import COLUMN_OF_STATUS, FIRST_BUCKET, TrafficStatistics

A = HostRoute(host_id="a", name="a", preserve_host=False, balancer=Single(None), generation=1)
B = HostRoute(host_id="b", name="b", preserve_host=False, balancer=Single(None), generation=1)
MINUTE = 1_800_000_000


class Clock:
    now = MINUTE + 10.0

    def __call__(self) -> float:
        return self.now


class Feed:
    """Keeps rows as the database does: by host, generation, minute and part, the last word counts."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int, int, int], tuple[int, ...]] = {}

    def take(self, traffic: tuple[MinuteOfTraffic, ...]) -> None:
        for row in traffic:
            self.rows[row.host_id, row.generation, row.start_s, row.part] = row.counts

    def total(self, host_id: str, column: str = "successes") -> int:
        return sum(counts[TRAFFIC_COLUMNS.index(column)] for (host, *_), counts in self.rows.items() if host == host_id)


@pytest.fixture
def clock() -> Clock:
    """Ten seconds into a minute."""
    return Clock()


@pytest.fixture
def counting(clock: Clock) -> TrafficStatistics:
    """Nothing yet."""
    return TrafficStatistics(clock)


def answered(counting: TrafficStatistics, route: HostRoute | None, status: int = 200, times: int = 1) -> None:
    row = counting.present.get(route) or counting.begin(route)
    row[COLUMN_OF_STATUS[status]] += times
    row[FIRST_BUCKET] += times


def shown(traffic: tuple[MinuteOfTraffic, ...]) -> dict[str, dict[str, int]]:
    """What is not zero, by host."""
    return {
        row.host_id: {name: count for name, count in zip(TRAFFIC_COLUMNS, row.counts, strict=True) if count}
        for row in traffic
    }


@pytest.mark.parametrize(
    ("status", "column"),
    [
        (101, "informational"),
        (200, "successes"),
        (304, "redirects"),
        (404, "client_errors"),
        (499, "client_errors"),
        (401, "refusals"),
        (403, "refusals"),
        (495, "refusals"),
        (496, "refusals"),
        (502, "server_errors"),
        (999, "server_errors"),
    ],
)
def test_each_status_has_one_column(status: int, column: str) -> None:
    """Those that refuse whoever asks are told apart."""
    assert TRAFFIC_COLUMNS[COLUMN_OF_STATUS[status]] == column


def test_a_minute_is_told_from_its_begin(counting: TrafficStatistics) -> None:
    """By host and all together, with what no host matched; again only when there is more."""
    answered(counting, A, 200, times=2)
    answered(counting, B, 403)
    answered(counting, None, 404)
    first = counting.to_report()
    assert shown(first)["a"] == {"successes": 2, "upto_1_ms": 2}
    assert shown(first)[""] == {
        "successes": 2,
        "refusals": 1,
        "client_errors": 1,
        "upto_1_ms": 4,
    }
    assert {row.start_s for row in first} == {MINUTE}
    counting.reported(first)
    assert counting.to_report() == ()
    answered(counting, A)
    assert {host: row["successes"] for host, row in shown(counting.to_report()).items()} == {"": 3, "a": 3}


def test_failures_and_handshakes(counting: TrafficStatistics) -> None:
    """A failed handshake is a handshake and a failed attempt; the refusal of our certificate is told apart."""
    counting.upstream_opened(A)
    for phase, code in ((Phase.TLS, "client_certificate_required"), (Phase.TLS, "expired"), (Phase.CONNECT, "refused")):
        counting.upstream_failed(A, UpstreamError(phase=phase, code=code, reason="why"))
    assert shown(counting.to_report())["a"] == {
        "upstream_failures": 3,
        "certificates_refused": 1,
        "handshakes": 3,
        "handshake_failures": 2,
    }


def test_another_entry_of_a_host_is_told_apart(counting: TrafficStatistics) -> None:
    """So what was answered under the old identity is; a route that was built anew from the same entry is not."""
    answered(counting, A)
    answered(counting, dataclasses.replace(A, name="renamed", generation=2))
    answered(counting, dataclasses.replace(A, hsts=b"new route"))
    rows = {(row.host_id, row.generation): row.counts[1] for row in counting.to_report()}
    assert rows == {("", 0): 3, ("a", 1): 2, ("a", 2): 1}


def test_minutes_that_are_over_are_told_until_the_feed_has_them(counting: TrafficStatistics, clock: Clock) -> None:
    """The earliest first; what came while a report was on its way is not lost."""
    answered(counting, A)
    lost = counting.to_report()
    clock.now += 60
    counting.tick()
    answered(counting, A, times=5)
    told = counting.to_report()
    assert told[: len(lost)] == lost
    assert [(row.host_id, row.start_s - MINUTE, row.counts[1]) for row in told[-2:]] == [("", 60, 5), ("a", 60, 5)]
    answered(counting, A)
    counting.reported(told)
    assert {row.start_s for row in counting.to_report()} == {MINUTE + 60}


def test_a_clock_that_is_set_back_overwrites_nothing(counting: TrafficStatistics, clock: Clock) -> None:
    """The same minute comes again as another part."""
    feed = Feed()
    for now in (MINUTE, MINUTE + 60, MINUTE, MINUTE + 60, MINUTE + 120):
        clock.now = now
        counting.tick()
        answered(counting, A)
        feed.take(told := counting.to_report())
        counting.reported(told)
    assert feed.total("a") == feed.total("") == 5


def test_what_the_feed_does_not_take_is_bounded_and_not_lost(
    counting: TrafficStatistics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is told, lost or merged in between: in the end every host has what it had, and all hosts too."""
    monkeypatch.setattr(statistics, "MAX_ROWS_KEPT", 6)
    monkeypatch.setattr(statistics, "MAX_REPORTED_TRAFFIC", 3)
    chance = random.Random(5)
    routes = [dataclasses.replace(A, host_id=name, name=name) for name in "abcdefgh"]
    feed, asked = Feed(), Counter[str]()
    for _ in range(300):
        route = chance.choice([*routes, None])
        answered(counting, route)
        asked[route.host_id if route else "nobody"] += 1
        if chance.random() < 0.2:
            told = counting.to_report()
            if chance.random() < 0.4:
                feed.take(told)
                counting.reported(told)
        if chance.random() < 0.2:
            clock.now += 60
            counting.tick()
            assert sum(len(minute.rows) for minute in counting._minutes[:-1]) <= max(6, len(routes) * 2)
    while told := counting.to_report():
        feed.take(told)
        counting.reported(told)
    assert {name: feed.total(name) for name in "abcdefgh"} == {name: asked[name] for name in "abcdefgh"}
    assert feed.total("") == asked.total() == 300
    assert feed.total("", "upto_1_ms") == 300


def test_a_report_has_a_limit(counting: TrafficStatistics) -> None:
    """What is left comes with the next one."""
    for number in range(MAX_REPORTED_TRAFFIC + 5):
        answered(counting, dataclasses.replace(A, host_id=str(number)))
    first = counting.to_report()
    counting.reported(first)
    assert (len(first), len(counting.to_report())) == (MAX_REPORTED_TRAFFIC, 6)
