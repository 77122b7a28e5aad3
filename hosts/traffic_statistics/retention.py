"""What becomes of samples: those of several workers are summed up, minutes to ten minutes, those to hours.

Laws of this module:
- A row that is summed up is deleted in the same transaction, and only when all that were read are still there: however
  often, by however many, and wherever it was cut off, nothing is counted twice or lost.
- What a worker may tell once more, because it did not hear that it was taken, is not summed up: a later word of the
  same source says that it did.
- Each transaction has a bounded number of rows, for it holds up those who write. What is left waits for the next run.
"""

import datetime
import uuid
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from hosts.models import Host
from hosts.traffic_statistics.models import ALL_HOSTS, TrafficSample
from hosts.traffic_statistics.sums import Counts, summed, together
from hosts.traffic_statistics.windows import DAY_S, HOUR_S, MINUTE_S, TEN_MINUTES_S
from proxyworker.snapshot import TRAFFIC_COLUMNS

# Longer than a worker takes to tell all of a minute that is over.
KEPT_BY_SOURCE_S = 5 * MINUTE_S
# A worker that says nothing for so long has ended, or has had no traffic since.
SILENT_S = HOUR_S
KEPT_MINUTES_S = 2 * HOUR_S
# An hour more than a day, for the step that has begun.
KEPT_TEN_MINUTES_S = DAY_S + HOUR_S
KEPT_HOURS_S = 7 * DAY_S + HOUR_S
# Of all hosts together there are few rows.
KEPT_MINUTES_OF_ALL_S = DAY_S + HOUR_S
KEPT_TEN_MINUTES_OF_ALL_S = KEPT_HOURS_S

# Of one transaction: so many hosts, and an hour of each.
HOSTS = 50
SLICE_S = HOUR_S
FORGOTTEN_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of `span_s` that are older than `kept_s` become part of one of `into_s`."""

    span_s: int
    kept_s: int
    kept_of_all_s: int
    into_s: int


STEPS = (
    Step(MINUTE_S, KEPT_MINUTES_S, KEPT_MINUTES_OF_ALL_S, TEN_MINUTES_S),
    Step(TEN_MINUTES_S, KEPT_TEN_MINUTES_S, KEPT_TEN_MINUTES_OF_ALL_S, HOUR_S),
)


def unite_sources(*, now_s: float) -> int:
    """Sum up what several workers and generations of a host counted in one minute. How many rows went."""
    return _sum_up(_told(now_s), into_s=MINUTE_S)


def condense(*, now_s: float) -> int:
    """Sum up and forget what is old. How many rows went."""
    gone = 0
    for step in STEPS:
        of_all = Q(host_id=ALL_HOSTS)
        for hosts, kept_s in ((of_all, step.kept_of_all_s), (~of_all, step.kept_s)):
            before_s = int(now_s - kept_s) // step.into_s * step.into_s
            old = TrafficSample.objects.filter(hosts, span_s=step.span_s, start_s__lt=before_s, source="")
            gone += _sum_up(old, into_s=step.into_s)
    return gone + _forget(TrafficSample.objects.filter(span_s=HOUR_S, start_s__lt=int(now_s) - KEPT_HOURS_S))


def forget_traffic_of_gone_hosts() -> int:
    """Delete what was told of hosts that are gone, of so many. How many rows there were."""
    existing = Host.objects.filter(pk=OuterRef("host_id"))
    gone = TrafficSample.objects.exclude(host_id=ALL_HOSTS).filter(~Exists(existing))
    host_ids = list(gone.order_by().values_list("host_id", flat=True).distinct()[:HOSTS])
    return TrafficSample.objects.filter(host_id__in=host_ids).delete()[0] if host_ids else 0


def _told(now_s: float) -> QuerySet[TrafficSample]:
    """Rows of workers of which it is known that they will not come again."""
    silent = datetime.datetime.fromtimestamp(now_s - SILENT_S, tz=datetime.UTC)
    # The earliest minutes are told first, so a later one says that all of this one was taken.
    later = TrafficSample.objects.filter(
        host_id=ALL_HOSTS,
        span_s=MINUTE_S,
        start_s__gt=OuterRef("start_s"),
        source=OuterRef("source"),
        reported_at__gt=OuterRef("reported_at"),
    )
    rows = TrafficSample.objects.filter(span_s=MINUTE_S, source__gt="", start_s__lt=int(now_s) - KEPT_BY_SOURCE_S)
    return rows.filter(Exists(later) | Q(reported_at__lt=silent))


def _sum_up(rows: QuerySet[TrafficSample], *, into_s: int) -> int:
    gone = 0
    while (oldest_s := rows.aggregate(oldest=Min("start_s"))["oldest"]) is not None:
        of_slice = rows.filter(start_s__lt=(oldest_s // SLICE_S + 1) * SLICE_S)
        host_ids = list(of_slice.order_by().values_list("host_id", flat=True).distinct())
        count = sum(
            _move(of_slice.filter(host_id__in=host_ids[first : first + HOSTS]), span_s=into_s)
            for first in range(0, len(host_ids), HOSTS)
        )
        if count == 0:
            # Somebody else does the same.
            break
        gone += count
    return gone


@transaction.atomic
def _move(rows: QuerySet[TrafficSample], *, span_s: int) -> int:
    """Sum `rows` up to rows of `span_s`. How many there were; none when somebody else was faster."""
    keys = list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))
    rows = TrafficSample.objects.filter(pk__in=keys)
    sums = summed(rows, step_s=span_s)
    earlier = summed(
        TrafficSample.objects.filter(
            host_id__in={host_id for host_id, _ in sums},
            span_s=span_s,
            start_s__in={start_s for _, start_s in sums},
            source="",
        ),
        step_s=span_s,
    )
    _store({key: together([counts, earlier.get(key, Counts())]) for key, counts in sums.items()}, span_s=span_s)
    if rows.delete()[0] == len(keys):
        return len(keys)
    transaction.set_rollback(True)
    return 0


def _store(sums: dict[tuple[uuid.UUID, int], Counts], *, span_s: int) -> None:
    TrafficSample.objects.bulk_create(
        [
            TrafficSample(
                host_id=host_id,
                span_s=span_s,
                start_s=start_s,
                **dict(zip(TRAFFIC_COLUMNS, counts.numbers, strict=True)),
            )
            for (host_id, start_s), counts in sums.items()
        ],
        update_conflicts=True,
        unique_fields=["host_id", "span_s", "start_s", "source", "generation"],
        update_fields=list(TRAFFIC_COLUMNS),
    )


def _forget(old: QuerySet[TrafficSample]) -> int:
    gone = 0
    while keys := list(old.values_list("pk", flat=True)[:FORGOTTEN_ROWS]):
        gone += TrafficSample.objects.filter(pk__in=keys).delete()[0]
    return gone
