"""How checks are counted: one row for each upstream and span.

Laws of this module:
- A check is counted in its minute when it is written down. There is no row for a single check.
- Each check is counted in exactly one row at any time: what sums up minutes takes them away in the same transaction
  (`healthchecks.retention`). So readers sum over rows of all spans and never ask which are there (`healthchecks.sums`).
"""

import uuid
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from healthchecks.check import Outcome
from healthchecks.models import HealthSummary

MINUTE_S = 60
TEN_MINUTES_S = 600
HOUR_S = 3600

# The bounds of the columns of the same names. Steps of about two: a quantile read from them is right within that.
BOUNDS_MS = (2, 5, 10, 25, 50, 100, 250, 500, 1000)
HISTOGRAM = (*(f"upto_{bound}_ms" for bound in BOUNDS_MS), "slower")
# What is added up.
SUMMED = ("count", "failures", "total_ms", *HISTOGRAM)
_COUNTED = (*SUMMED, "min_ms", "max_ms", "codes")


def count_checks(checks: Sequence[tuple[uuid.UUID, Outcome]]) -> None:
    """Count checks of different upstreams, whose rows of UpstreamHealth the caller has locked. Two queries."""
    starts = {upstream_id: _start_s(outcome) for upstream_id, outcome in checks}
    known = {
        row.upstream_id: row
        for row in HealthSummary.objects.filter(
            upstream__in=list(starts), span_s=MINUTE_S, start_s__in=set(starts.values())
        )
        if row.start_s == starts[row.upstream_id]
    }
    rows = []
    for upstream_id, outcome in checks:
        row = known.get(upstream_id) or HealthSummary(
            upstream_id=upstream_id, span_s=MINUTE_S, start_s=starts[upstream_id]
        )
        count_check(row, is_ok=outcome.is_ok, duration_ms=outcome.duration_ms, code=outcome.code)
        rows.append(row)
    store(rows)


def count_check(row: HealthSummary, *, is_ok: bool, duration_ms: int, code: str) -> None:
    """Count one more check in `row`."""
    row.count += 1
    if not is_ok:
        row.failures += 1
        row.codes[code] = row.codes.get(code, 0) + 1
        return
    row.total_ms += duration_ms
    row.min_ms = duration_ms if row.min_ms is None else min(row.min_ms, duration_ms)
    row.max_ms = duration_ms if row.max_ms is None else max(row.max_ms, duration_ms)
    column = HISTOGRAM[bisect_left(BOUNDS_MS, duration_ms)]
    setattr(row, column, getattr(row, column) + 1)


def store(rows: Iterable[HealthSummary]) -> None:
    """Write rows, in place of those of the same upstream and span."""
    for row in (rows := list(rows)):
        row.pk = None  # the constraint finds them; an upsert with two keys is no upsert
    HealthSummary.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["upstream", "span_s", "start_s"],
        update_fields=list(_COUNTED),
    )


def _start_s(outcome: Outcome) -> int:
    return int(outcome.at.timestamp()) // MINUTE_S * MINUTE_S
