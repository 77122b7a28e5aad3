"""What becomes of the history: minutes are summed up to ten minutes, those to hours, hours are forgotten.

Laws of this module:
- A row that is summed up is deleted in the same transaction, and only when all that were read are still there: however
  often, by however many, and wherever it was cut off, no check is counted twice or lost.
- Each transaction has a bounded number of rows, for it holds up those who write. What is left waits for the next run.
- Changes of state are kept as long as their upstream.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from healthchecks.models import HealthSummary, HealthTransition
from healthchecks.summaries import HOUR_S, MINUTE_S, TEN_MINUTES_S, store
from healthchecks.sums import Sums, summed, total
from hosts.models import Upstream

_DAY_S = 24 * HOUR_S
KEPT_MINUTES_S = 2 * HOUR_S
KEPT_TEN_MINUTES_S = 7 * _DAY_S
# A day more than the longest time that is shown, for the part of it that has begun.
KEPT_HOURS_S = 31 * _DAY_S

# Of one transaction: so many upstreams, and an hour of each. At most 12 000 rows.
UPSTREAMS = 200
SLICE_S = HOUR_S
# So many are forgotten at once. Each hour there is one of each upstream.
FORGOTTEN_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of `span_s` that are older than `kept_s` become part of one of `into_s`."""

    span_s: int
    kept_s: int
    into_s: int


STEPS = (Step(MINUTE_S, KEPT_MINUTES_S, TEN_MINUTES_S), Step(TEN_MINUTES_S, KEPT_TEN_MINUTES_S, HOUR_S))


def condense(*, now_s: float) -> int:
    """Sum up and forget what is old. How many rows went. Three queries for each UPSTREAMS when there is none."""
    gone = 0
    for upstream_ids in _batches():
        for step in STEPS:
            gone += _condense(upstream_ids, step, before_s=int(now_s - step.kept_s) // step.into_s * step.into_s)
        gone += _forget(upstream_ids, before_s=int(now_s) - KEPT_HOURS_S)
    return gone


def _forget(upstream_ids: Sequence[uuid.UUID], *, before_s: int) -> int:
    old = HealthSummary.objects.filter(upstream__in=upstream_ids, span_s=HOUR_S, start_s__lt=before_s)
    gone = 0
    while keys := list(old.values_list("pk", flat=True)[:FORGOTTEN_ROWS]):
        gone += HealthSummary.objects.filter(pk__in=keys).delete()[0]
    return gone


def _batches() -> Iterator[list[uuid.UUID]]:
    after: uuid.UUID | None = None
    while True:
        behind = Q(pk__gt=after) if after else Q()
        found = list(Upstream.objects.filter(behind).order_by("pk").values_list("pk", flat=True)[:UPSTREAMS])
        if not found:
            return
        yield found
        after = found[-1]


def _condense(upstream_ids: Sequence[uuid.UUID], step: Step, *, before_s: int) -> int:
    rows = HealthSummary.objects.filter(upstream__in=upstream_ids, span_s=step.span_s, start_s__lt=before_s)
    gone = 0
    while (oldest_s := rows.aggregate(oldest=Min("start_s"))["oldest"]) is not None:
        slice_end_s = (oldest_s // SLICE_S + 1) * SLICE_S
        count = _move(rows.filter(start_s__lt=slice_end_s), step)
        if count == 0:
            # Somebody else does the same.
            break
        gone += count
    return gone


def _move(rows: QuerySet[HealthSummary], step: Step) -> int:
    """Sum `rows` up. How many there were; none when somebody else was faster."""
    with transaction.atomic():
        count = rows.count()
        sums = summed(rows, step_s=step.into_s)
        earlier = HealthSummary.objects.filter(
            upstream__in={one.upstream_id for one in sums},
            span_s=step.into_s,
            start_s__in={one.start_s for one in sums},
        )
        known = {(row.upstream_id, row.start_s): row for row in earlier}
        store(_with(one, known.get((one.upstream_id, one.start_s))) for one in sums)
        if rows.delete()[0] == count:
            return count
        transaction.set_rollback(True)
    return 0


def _with(sums: Sums, earlier: HealthSummary | None) -> HealthSummary:
    return (sums if earlier is None else total([sums, Sums.of(earlier)])).row()


def forget_history_of_gone_upstreams() -> int:
    """Delete what was written while its upstream was being deleted, of so many. How many rows there were."""
    existing = Upstream.objects.filter(pk=OuterRef("upstream_id"))
    count = 0
    for rows in (HealthTransition.objects.order_by(), HealthSummary.objects.order_by()):
        # First asked, then deleted, one upstream at a time: to look at each row is not what writers should wait for.
        gone = rows.filter(~Exists(existing)).values_list("upstream_id", flat=True).distinct()
        for upstream_id in list(gone[:UPSTREAMS]):
            count += rows.filter(upstream=upstream_id).delete()[0]
    return count
