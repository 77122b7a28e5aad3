"""uptime: how an upstream stood over time."""

import datetime

import pytest

from healthchecks.models import HealthState
from healthchecks.uptime import Stretch, clipped, stretches, uptime, worst_of_slots

START = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
UP, DOWN, UNKNOWN = HealthState.HEALTHY, HealthState.UNHEALTHY, HealthState.UNKNOWN


def at(seconds: float) -> datetime.datetime:
    return START + datetime.timedelta(seconds=seconds)


def stretch(state: HealthState, since: float, until: float) -> Stretch:
    return Stretch(state, at(since), at(until))


@pytest.mark.parametrize(
    ("first", "changes", "known_until", "expected"),
    [
        (UNKNOWN, [], 100, [(UNKNOWN, 0, 100)]),
        (UP, [], 1000, [(UP, 0, 100)]),
        (UP, [], 60, [(UP, 0, 60), (UNKNOWN, 60, 100)]),
        (UP, [], -5, [(UNKNOWN, 0, 100)]),
        (UP, [(20, DOWN), (30, UP)], 100, [(UP, 0, 20), (DOWN, 20, 30), (UP, 30, 100)]),
        # A gap that nobody checked in, and the same state after it.
        (UP, [(20, UNKNOWN), (30, UP)], 100, [(UP, 0, 20), (UNKNOWN, 20, 30), (UP, 30, 100)]),
        # Two changes at once, and one that changes nothing.
        (UP, [(20, UNKNOWN), (30, UP), (30, DOWN), (40, DOWN)], 100, [(UP, 0, 20), (UNKNOWN, 20, 30), (DOWN, 30, 100)]),
        # What lies outside.
        (UP, [(0, DOWN), (100, DOWN), (110, UNKNOWN)], 100, [(UP, 0, 100)]),
    ],
)
def test_stretches(
    first: HealthState,
    changes: list[tuple[int, HealthState]],
    known_until: int,
    expected: list[tuple[HealthState, int, int]],
) -> None:
    """The whole time, without gaps."""
    found = stretches(
        [(at(seconds), state) for seconds, state in changes],
        first=first,
        since=START,
        until=at(100),
        known_until=at(known_until),
    )
    assert found == [stretch(*one) for one in expected]


@pytest.mark.parametrize(
    ("found", "percent", "known_s"),
    [
        ([], None, 0),
        ([stretch(UNKNOWN, 0, 100)], None, 0),
        ([stretch(UP, 0, 100)], 100.0, 100),
        ([stretch(UP, 0.1, 0.3), stretch(UP, 0.3, 0.7)], 100.0, 1),
        ([stretch(UP, 0, 75), stretch(DOWN, 75, 100), stretch(UNKNOWN, 100, 900)], 75.0, 100),
        # A second of thirty days is not rounded away.
        ([stretch(UP, 0, 2_592_000), stretch(DOWN, 2_592_000, 2_592_001)], 99.999, 2_592_001),
    ],
)
def test_uptime(found: list[Stretch], percent: float | None, known_s: int) -> None:
    """The share of the known time."""
    assert (uptime(found).percent, uptime(found).known_s) == (percent, known_s)


def test_a_part_of_a_time() -> None:
    """Cuts the first stretch."""
    assert clipped([stretch(UP, 0, 50), stretch(DOWN, 50, 100)], since=at(60)) == [stretch(DOWN, 60, 100)]


def test_a_slot_shows_the_worst_that_was_known() -> None:
    """A moment of outage is seen; unknown is shown where nothing else is."""
    found = [
        stretch(UNKNOWN, 0, 20),
        stretch(UP, 20, 55),
        stretch(DOWN, 55, 56),
        stretch(UP, 56, 75),
        stretch(UNKNOWN, 75, 100),
    ]
    slots = worst_of_slots(found, since=START, until=at(100), slots=10)
    assert slots == [UNKNOWN, UNKNOWN, UP, UP, UP, DOWN, UP, UP, UNKNOWN, UNKNOWN]
