"""How upstreams stood, and how fast they answered, over an hour, a day, a week or a month.

Laws of this module: a constant number of queries, whatever the number of upstreams; what an answer holds is bounded by
its range. Numbers that nobody measured are None.
"""

import datetime
import itertools
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import models
from django.db.models import F, OuterRef, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber

from healthchecks.models import HealthState, HealthSummary, HealthTransition, UpstreamHealth
from healthchecks.sums import Sums, summed
from healthchecks.uptime import Stretch, Uptime, clipped, stretches, uptime
from hosts.models import Upstream

# Of one upstream in one range: what changes more often is read from the newest on, and unknown before.
MAX_CHANGES = 5000

DAY = datetime.timedelta(days=1)
UPTIME_PERIODS = {"last_24h": DAY, "last_7d": 7 * DAY, "last_30d": 30 * DAY}

# Before it, nobody checked anything; and times of the first centuries do not fit into every time zone.
_FIRST_MOMENT = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Range(models.TextChoices):
    """How long a time is looked at."""

    HOUR = "1h", "1 hour"
    DAY = "24h", "24 hours"
    WEEK = "7d", "7 days"
    MONTH = "30d", "30 days"

    @property
    def length(self) -> datetime.timedelta:
        return _RANGES[self][0]

    @property
    def step_s(self) -> int:
        """The time between two points: at most 180 of them fill the range."""
        return _RANGES[self][1]


_RANGES = {
    Range.HOUR: (datetime.timedelta(hours=1), 60),
    Range.DAY: (DAY, 600),
    Range.WEEK: (7 * DAY, 3600),
    Range.MONTH: (30 * DAY, 4 * 3600),
}

StretchesByUpstream = dict[uuid.UUID, list[Stretch]]


@dataclass(frozen=True, slots=True)
class Period:
    """A range with its ends."""

    range: Range
    since: datetime.datetime
    until: datetime.datetime

    @classmethod
    def ending(cls, until: datetime.datetime | None, *, range_: Range, now: datetime.datetime) -> "Period":
        """`until` None or in the future means now."""
        end = now if until is None else max(_FIRST_MOMENT, min(until, now))
        return cls(range_, end - range_.length, end)


def stretches_of(
    upstream_ids: Sequence[uuid.UUID],
    standing: Mapping[uuid.UUID, UpstreamHealth],
    *,
    since: datetime.datetime,
    until: datetime.datetime,
) -> StretchesByUpstream:
    """How each of them stood. Two queries."""
    changes = _changes(upstream_ids, since=since, until=until)
    firsts = _states_at(upstream_ids, since)
    found: StretchesByUpstream = {}
    for upstream_id in upstream_ids:
        health = standing.get(upstream_id)
        own, first = changes[upstream_id], firsts.get(upstream_id, HealthState.UNKNOWN)
        if len(own) == MAX_CHANGES:
            first = HealthState.UNKNOWN
        found[upstream_id] = stretches(
            own,
            first=first,
            since=since,
            until=until,
            # Of what is not checked the last change said that it is unknown.
            known_until=(health.fresh_until or health.since) if health else until,
        )
    return found


def uptimes(found: Sequence[Stretch], *, now: datetime.datetime) -> dict[str, Uptime]:
    """Of each of UPTIME_PERIODS, from the stretches of the longest of them up to now."""
    return {name: uptime(clipped(found, since=now - length)) for name, length in UPTIME_PERIODS.items()}


def points_of(upstream_ids: Sequence[uuid.UUID], period: Period) -> dict[uuid.UUID, list[Sums]]:
    """What came of their checks, step by step, the oldest first; steps without a check are left out. Two queries."""
    step_s = period.range.step_s
    rows = HealthSummary.objects.filter(
        upstream__in=upstream_ids,
        start_s__gte=int(period.since.timestamp()) // step_s * step_s,
        start_s__lt=period.until.timestamp(),
    )
    return {
        upstream_id: list(group)
        for upstream_id, group in itertools.groupby(summed(rows, step_s=step_s), key=lambda sums: sums.upstream_id)
    }


def newest_of_each(rows: QuerySet[HealthTransition], *, limit: int) -> QuerySet[HealthTransition]:
    """So many changes of each upstream."""
    position = Window(RowNumber(), partition_by=F("upstream_id"), order_by=[F("at").desc(), F("pk").desc()])
    return rows.alias(position=position).filter(position__lte=limit)


def _changes(
    upstream_ids: Sequence[uuid.UUID], *, since: datetime.datetime, until: datetime.datetime
) -> defaultdict[uuid.UUID, list[tuple[datetime.datetime, HealthState]]]:
    rows = HealthTransition.objects.filter(upstream__in=upstream_ids, at__gt=since, at__lt=until)
    found: defaultdict[uuid.UUID, list[tuple[datetime.datetime, HealthState]]] = defaultdict(list)
    newest = newest_of_each(rows, limit=MAX_CHANGES).order_by("at", "pk")
    for upstream_id, at, state in newest.values_list("upstream_id", "at", "state"):
        found[upstream_id].append((at, HealthState(state)))
    return found


def _states_at(upstream_ids: Sequence[uuid.UUID], moment: datetime.datetime) -> dict[uuid.UUID, HealthState]:
    """Of each that had one. What changed at that moment is as it was afterwards."""
    last = HealthTransition.objects.filter(upstream=OuterRef("pk"), at__lte=moment).order_by("-at", "-pk")
    rows = Upstream.objects.filter(pk__in=upstream_ids).order_by().values_list("pk", Subquery(last.values("state")[:1]))
    return {upstream_id: HealthState(state) for upstream_id, state in rows if state is not None}
