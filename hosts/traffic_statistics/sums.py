"""What rows of samples come to together, and what is read from that.

Laws of this module: the database adds up, and no model object is made of what is only read.
"""

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import F, QuerySet, Sum

from hosts.traffic_statistics.models import TrafficSample
from proxyworker.snapshot import DURATION_BOUNDS_MS, TRAFFIC_COLUMNS

# The first columns, as they are all that a rate needs.
ANSWERS = TRAFFIC_COLUMNS[: TRAFFIC_COLUMNS.index("server_errors") + 1]
_HISTOGRAM = slice(TRAFFIC_COLUMNS.index("upto_1_ms"), None)
_EMPTY = (0,) * len(TRAFFIC_COLUMNS)


class Counts(NamedTuple):
    """TRAFFIC_COLUMNS of some rows together."""

    numbers: tuple[int, ...] = _EMPTY

    def of(self, column: str) -> int:
        """One of them."""
        return self.numbers[TRAFFIC_COLUMNS.index(column)]

    @property
    def requests(self) -> int:
        """All that were answered."""
        return sum(self.numbers[: len(ANSWERS)])

    @property
    def error_rate(self) -> float | None:
        """The share of 5xx; None when nothing was asked."""
        return self.of("server_errors") / self.requests if self.requests else None

    def quantile_ms(self, share: float) -> float | None:
        """About how long that share of the exchanges took at most, from the histogram. None when there was none."""
        histogram = self.numbers[_HISTOGRAM]
        wanted = share * sum(histogram)
        passed, low = 0.0, 0.0
        for count, high in zip(histogram, (*DURATION_BOUNDS_MS, DURATION_BOUNDS_MS[-1]), strict=True):
            if count and passed + count >= wanted:
                # As if those between two bounds were evenly spread.
                return round(low + (high - low) * (wanted - passed) / count, 2)
            passed, low = passed + count, high
        return None


def together(counts: Sequence[Counts]) -> Counts:
    """All of them."""
    return Counts(tuple(map(sum, zip(_EMPTY, *(one.numbers for one in counts), strict=True))))


def summed(
    rows: QuerySet[TrafficSample], *, step_s: int, columns: Sequence[str] = TRAFFIC_COLUMNS
) -> dict[tuple[uuid.UUID, int], Counts]:
    """By host and begin of the step; columns beyond the first so many, `columns`, are left at 0. One query."""
    stepped: Any = rows.order_by().annotate(step=F("start_s") - F("start_s") % step_s)
    totals = {f"sum_{column}": Sum(column) for column in columns}
    rest = _EMPTY[len(columns) :]
    sums = stepped.values("host_id", "step").annotate(**totals).values_list("host_id", "step", *totals)
    # What PostgreSQL adds up of a bigint is a Decimal.
    return {(host_id, step): Counts((*map(int, numbers), *rest)) for host_id, step, *numbers in sums}


def summed_all(rows: QuerySet[TrafficSample]) -> Counts:
    """All rows. One query."""
    found = rows.aggregate(**{column: Sum(column, default=0) for column in TRAFFIC_COLUMNS})
    return Counts(tuple(int(found[column]) for column in TRAFFIC_COLUMNS))
