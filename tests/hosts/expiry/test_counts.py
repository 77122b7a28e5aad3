"""How many end by when."""

import datetime

from hosts.expiry.counts import HEIGHT, horizon_counts, months
from hosts.expiry.expiring import Horizon
from tests.hosts.expiry.examples import DAY
from tests.hosts.expiry.test_expiring import found

NOW = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)


def test_horizons_are_counted() -> None:
    """Every horizon, also those without any."""
    timeline = [found(not_after=NOW + days * DAY) for days in (-3, 0, 7, 8, 400)]
    assert horizon_counts(timeline, now=NOW) == {
        Horizon.EXPIRED: 2,
        Horizon.WEEK: 1,
        Horizon.MONTH: 1,
        Horizon.QUARTER: 0,
        Horizon.LATER: 1,
    }


def test_months_are_those_of_the_calendar() -> None:
    """The present one without what is over; the highest bar has all the room; what is later is in none."""
    ends = [
        NOW - DAY,
        datetime.datetime(2026, 11, 30, 23, 59, tzinfo=datetime.UTC),
        datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 12, 31, tzinfo=datetime.UTC),
        datetime.datetime(2027, 10, 31, 23, tzinfo=datetime.UTC),
        datetime.datetime(2027, 11, 1, tzinfo=datetime.UTC),
    ]
    shown = months([found(not_after=end) for end in ends], now=NOW)
    counts = {month.name: month.count for month in shown if month.count}
    assert counts == {"Nov 26": 1, "Dec 26": 2, "Oct 27": 1}
    assert [month.name for month in shown][1:3] == ["Dec 26", "Jan 27"]
    assert [(month.height, month.top) for month in shown[:3]] == [(HEIGHT / 2, HEIGHT / 2), (HEIGHT, 0), (0, HEIGHT)]


def test_without_any_there_are_months_all_the_same() -> None:
    """Twelve of nothing."""
    assert [month.count for month in months([], now=NOW)] == [0] * 12
    assert set(horizon_counts([], now=NOW).values()) == {0}
