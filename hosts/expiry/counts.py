"""How many of the timeline end by when: in each horizon, and in each of the next months. Pure.

Laws of this module: a timeline is in order, so its parts are found by bisection; a fleet's has thousands of rows.
"""

import bisect
import datetime
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from hosts.expiry.expiring import HORIZON_DAYS, Expiring, Horizon

MONTHS = 12
# Of a bar; the highest has all of it.
HEIGHT = 40

_end = attrgetter("not_after")


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in UTC, `name` as "Dec 26". The present one has what is still to come of it."""

    name: str
    count: int
    height: float

    @property
    def top(self) -> float:
        """Where its bar begins: the drawing's y grows downwards."""
        return round(HEIGHT - self.height, 1)


def horizon_counts(timeline: Sequence[Expiring], *, now: datetime.datetime) -> dict[Horizon, int]:
    """How many there are of each horizon."""
    moments = [now + datetime.timedelta(days=days) for days in HORIZON_DAYS.values()]
    before = [0, *(bisect.bisect_right(timeline, moment, key=_end) for moment in moments), len(timeline)]
    return dict(zip(Horizon, _differences(before), strict=True))


def months(timeline: Sequence[Expiring], *, now: datetime.datetime) -> list[Month]:
    """The present month and those after it. What is over already is in none."""
    first = now.astimezone(datetime.UTC).year * 12 + now.astimezone(datetime.UTC).month - 1
    begins = [_begin(first + index) for index in range(MONTHS + 1)]
    before = [
        bisect.bisect_right(timeline, now, key=_end),
        *(bisect.bisect_left(timeline, begin, key=_end) for begin in begins[1:]),
    ]
    counts = list(_differences(before))
    highest = max(counts) or 1
    return [
        Month(f"{begin:%b %y}", count, round(HEIGHT * count / highest, 1))
        for begin, count in zip(begins, counts, strict=False)
    ]


def _differences(numbers: Iterable[int]) -> Iterable[int]:
    return (after - before for before, after in itertools.pairwise(numbers))


def _begin(month: int) -> datetime.datetime:
    return datetime.datetime(month // 12, month % 12 + 1, 1, tzinfo=datetime.UTC)
