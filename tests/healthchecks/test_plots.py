"""plots: how the health of one upstream is drawn."""

import datetime

import pytest

from healthchecks.history import Period, Range
from healthchecks.models import HealthState, HealthSummary
from healthchecks.plots import Bar, latency, steps_in, table, timeline
from healthchecks.summaries import count_check
from healthchecks.sums import Sums
from healthchecks.uptime import Stretch

UNTIL = datetime.datetime(2026, 5, 2, tzinfo=datetime.UTC)
DAY = Period.ending(UNTIL, range_=Range.DAY, now=UNTIL)
UNTIL_S = int(UNTIL.timestamp())


def point(ago_s: int, *durations_ms: int, failures: int = 0) -> Sums:
    row = HealthSummary(span_s=600, start_s=UNTIL_S - ago_s)
    for duration_ms in durations_ms:
        count_check(row, is_ok=True, duration_ms=duration_ms, code="")
    for _ in range(failures):
        count_check(row, is_ok=False, duration_ms=1, code="timeout")
    return Sums.of(row)


def test_a_timeline_has_a_bar_for_what_is_the_same() -> None:
    """Each with its state and times in words."""
    noon = UNTIL - datetime.timedelta(hours=12)
    found = [
        Stretch(HealthState.UNKNOWN, DAY.since, noon),
        Stretch(HealthState.HEALTHY, noon, UNTIL - datetime.timedelta(seconds=90)),
        Stretch(HealthState.UNHEALTHY, UNTIL - datetime.timedelta(seconds=90), UNTIL),
    ]
    assert timeline(found, DAY) == [
        Bar(0, 72, HealthState.UNKNOWN, "No data, 01 May 00:00 to 01 May 12:00 UTC"),
        Bar(72, 71, HealthState.HEALTHY, "Healthy, 01 May 12:00 to 01 May 23:50 UTC"),
        Bar(143, 1, HealthState.UNHEALTHY, "Unhealthy, 01 May 23:50 to 02 May 00:00 UTC"),
    ]


def test_latency_is_a_band_a_line_and_marks_of_failures() -> None:
    """Steps that follow each other are joined, others are not."""
    plot = latency([point(6000, 10), point(5400, 20), point(1200, 10, failures=1), point(600, failures=2)], DAY)
    assert plot is not None
    assert plot.top_ms == 20
    assert plot.line == "M134.0 50.0H135.0V0.0H136.0M142.0 50.0H143.0"
    assert plot.band.startswith("M134.0 50.0H135.0V50.0H134.0Z")
    assert plot.failures == [(142.0, 1.0), (143.0, 1.0)]


@pytest.mark.parametrize(("slowest", "top_ms"), [(0, 1), (1, 1), (3, 5), (7, 10), (90, 100), (120, 200), (4000, 5000)])
def test_the_scale_ends_at_a_round_number(slowest: int, top_ms: int) -> None:
    """That nothing exceeds."""
    plot = latency([point(600, slowest)], DAY)
    assert plot is not None
    assert plot.top_ms == top_ms


def test_nothing_measured_is_no_plot() -> None:
    """And no line at zero."""
    assert latency([], DAY) is None
    assert latency([point(600, failures=3)], DAY) is None


def test_what_began_before_the_range_is_cut() -> None:
    """A day that is looked at begins within a step."""
    plot = latency([point(86_400 + 300, 10)], DAY)
    assert plot is not None
    assert plot.line == "M0.0 0.0H0.5"


def test_a_table_tells_the_same() -> None:
    """In two hours each, the newest first, with why checks failed."""
    rows = table([point(14_400, 10), point(6000, 10, failures=2), point(600, 30)], DAY)
    found = [(row["since"], row["count"], row["failures"], row["mean_ms"], row["codes"]) for row in rows]
    assert found == [
        ("01 May 22:00", 4, 2, 20.0, [("timeout", 2)]),
        ("01 May 20:00", 1, 0, 10.0, []),
    ]


def test_a_day_has_steps_of_ten_minutes() -> None:
    """As wide as the drawing is."""
    assert steps_in(Range.DAY) == 144
