"""What rows of health summaries come to together, and what is read from that.

Laws of this module: the database adds up what it can, and no model object is made of what is only read: a page of ten
upstreams shows what 1800 of them would hold.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from django.db.models import F, IntegerField, Max, Min, QuerySet, Sum

from healthchecks.models import HealthSummary
from healthchecks.summaries import BOUNDS_MS, HISTOGRAM, SUMMED


@dataclass(slots=True)
class Sums:
    """What was counted of one upstream in `span_s` from `start_s` on. Columns have the names they have in the row."""

    upstream_id: uuid.UUID
    start_s: int
    span_s: int
    min_ms: int | None
    max_ms: int | None
    codes: dict[str, int]
    count: int
    failures: int
    total_ms: int
    histogram: Sequence[int]

    @classmethod
    def of(cls, row: HealthSummary) -> "Sums":
        """Of one row."""
        histogram = [getattr(row, name) for name in HISTOGRAM]
        return cls(**{name: getattr(row, name) for name in _COLUMNS}, histogram=histogram)

    def row(self) -> HealthSummary:
        """As it would be stored."""
        histogram = dict(zip(HISTOGRAM, self.histogram, strict=True))
        return HealthSummary(**{name: getattr(self, name) for name in _COLUMNS}, **histogram)


_COLUMNS = tuple(field.name for field in fields(Sums) if field.name != "histogram")


class _Plain:
    """What is an integer in any database: nothing is left to convert, which the ORM did for each of a page's 40 000."""

    def get_db_converters(self, connection: Any) -> list[Any]:
        return []


class _Sum(_Plain, Sum):
    pass


class _Min(_Plain, Min):
    pass


class _Max(_Plain, Max):
    pass


def summed(rows: QuerySet[HealthSummary], *, step_s: int) -> list[Sums]:
    """One for each upstream and step that has any; `span_s` is the step, or the longest span. Two queries."""
    stepped: Any = rows.order_by().annotate(step=F("start_s") - F("start_s") % step_s)
    codes = _summed_codes(stepped)
    # What PostgreSQL adds up of a bigint is a Decimal.
    totals = {f"sum_{name}": Sum(name) if name == "total_ms" else _Sum(name) for name in SUMMED}
    sums = stepped.values("upstream_id", "step").annotate(
        longest_s=_Max("span_s", output_field=IntegerField()),
        lowest_ms=_Min("min_ms"),
        highest_ms=_Max("max_ms"),
        **totals,
    )
    columns = ("upstream_id", "step", "longest_s", "lowest_ms", "highest_ms", *totals)
    return [
        Sums(
            upstream_id,
            start_s,
            max(step_s, longest_s),
            lowest_ms,
            highest_ms,
            dict(codes.get((upstream_id, start_s), ())),
            count,
            failures,
            total_ms,
            histogram,
        )
        for upstream_id, start_s, longest_s, lowest_ms, highest_ms, count, failures, total_ms, *histogram in (
            sums.order_by("upstream_id", "step").values_list(*columns)
        )
    ]


def _summed_codes(stepped: Any) -> dict[tuple[uuid.UUID, int], Counter[str]]:
    found: dict[tuple[uuid.UUID, int], Counter[str]] = {}
    for upstream_id, step, codes in stepped.filter(failures__gt=0).values_list("upstream_id", "step", "codes"):
        found.setdefault((upstream_id, step), Counter()).update(codes)
    return found


def total(sums: Sequence[Sums]) -> Sums:
    """All of them, of which there is one at least, in the place of the first."""
    codes: Counter[str] = Counter()
    for one in sums:
        if one.codes:
            codes.update(one.codes)
    return replace(
        sums[0],
        min_ms=min((one.min_ms for one in sums if one.min_ms is not None), default=None),
        max_ms=max((one.max_ms for one in sums if one.max_ms is not None), default=None),
        codes=dict(codes),
        count=sum(one.count for one in sums),
        failures=sum(one.failures for one in sums),
        total_ms=sum(one.total_ms for one in sums),
        histogram=[sum(column) for column in zip(*(one.histogram for one in sums), strict=True)],
    )


def mean_ms(sums: Sums) -> float | None:
    """Of the checks that went well; None when none did."""
    good = sums.count - sums.failures
    return round(sums.total_ms / good, 1) if good else None


def quantile_ms(sums: Sums, share: float) -> float | None:
    """About how long that share of the good checks took at most, from the histogram. None when none went well."""
    good = sum(sums.histogram)
    if sums.min_ms is None or sums.max_ms is None or not good:
        return None
    wanted = share * good
    passed, low = 0.0, 0.0
    for count, high in zip(sums.histogram, (*BOUNDS_MS, max(sums.max_ms, BOUNDS_MS[-1])), strict=True):
        if count and passed + count >= wanted:
            # As if those between two bounds were evenly spread.
            estimate: float = low + (high - low) * (wanted - passed) / count
            return round(float(min(max(estimate, sums.min_ms), sums.max_ms)), 1)
        passed, low = passed + count, high
    return float(sums.max_ms)
