"""How hosts, workers and checks stand at this moment, from all that is known of them.

Laws of this module:
- A number of queries that does not depend on the number of hosts; of those that are well only the number is read.
- Nothing is guessed: a check speaks for its upstream until `fresh_until`, and a host of which nobody knows anything is
  UNCHECKED, not up.
"""

import datetime
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from django.db.models import Count, Exists, Max, Min, OuterRef, Q

from healthchecks.models import HealthState, UpstreamHealth
from hosts.models import CompiledHost, Host, ProxyWorker, Upstream, UpstreamFailure
from hosts.selectors import WorkerHealth, latest_generation, refusals, worker_health
from hosts.upstream_failures import RECENT

# Checks are taken every two seconds, and one that is overdue by so much is taken by nobody.
LATE_AFTER = datetime.timedelta(minutes=1)


class HostState(StrEnum):
    """How a host stands; the worst first."""

    DOWN = "down"
    DEGRADED = "degraded"
    UNCHECKED = "unchecked"
    UP = "up"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A host that is down or degraded. `code` is one of docs/diagnosis.md, empty when there is none."""

    host_id: uuid.UUID
    name: str
    state: HostState
    why: str
    code: str
    since: datetime.datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How many hosts stand how, and those that are not well: the worst first, of these the newest."""

    counts: Mapping[HostState, int]
    troubles: Sequence[Trouble]

    @property
    def total(self) -> int:
        """How many hosts there are."""
        return sum(self.counts.values())

    @property
    def served(self) -> int:
        """How many are switched on."""
        return self.total - self.counts[HostState.OFF]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStanding:
    """A worker, and what it lacks: how many changes, and for how long the oldest of them has been published."""

    worker: ProxyWorker
    health: WorkerHealth
    latest: int
    lag: datetime.timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LateChecks:
    """How many health checks nobody does although they are due, and since when."""

    count: int
    since: datetime.datetime | None


class _Reason(NamedTuple):
    """Why a host is not well."""

    host_id: uuid.UUID
    state: HostState
    why: str
    code: str = ""
    since: datetime.datetime | None = None


class _Checked(NamedTuple):
    """What the checks say of the upstreams of one host: how many there are, pass and fail."""

    host_id: uuid.UUID
    total: int
    healthy: int
    failing: int
    first_since: datetime.datetime | None
    last_since: datetime.datetime | None
    code: str | None


def fleet(*, now: datetime.datetime) -> Fleet:
    """How all hosts stand. Seven queries, eight while one of them is not well."""
    numbers = Host.objects.aggregate(on=Count("pk", filter=Q(enabled=True)), off=Count("pk", filter=Q(enabled=False)))
    checked = _checked(now)
    reasons: dict[uuid.UUID, _Reason] = {}
    # The first reason counts; those of hosts that are down come first.
    for reason in (
        *_unusable(now),
        *_without_upstream(),
        *_failing_checks(checked),
        *_half_served(),
        *_in_traffic(now),
    ):
        reasons.setdefault(reason.host_id, reason)
    names = dict(Host.objects.filter(pk__in=list(reasons), enabled=True).order_by().values_list("pk", "name"))
    troubles = sorted(_named(reasons.values(), names), key=_order)
    counts = dict.fromkeys(HostState, 0)
    counts[HostState.OFF] = numbers["off"]
    for trouble in troubles:
        counts[trouble.state] += 1
    counts[HostState.UP] = sum(1 for row in checked if row.healthy and row.host_id not in names)
    counts[HostState.UNCHECKED] = max(0, numbers["on"] - len(troubles) - counts[HostState.UP])
    return Fleet(counts=counts, troubles=troubles)


def workers(*, now: datetime.datetime) -> list[WorkerStanding]:
    """All workers, the lost and the late first. Two queries, three while one of them is behind."""
    latest = latest_generation()
    found = [(worker, worker_health(worker, latest=latest, now=now)) for worker in ProxyWorker.objects.all()]
    behind = [worker.generation for worker, health in found if health is WorkerHealth.BEHIND]
    published = _published_after(min(behind)) if behind else []
    standings = [
        WorkerStanding(
            worker=worker,
            health=health,
            latest=latest,
            lag=_lag(worker, published, now) if health is WorkerHealth.BEHIND else None,
        )
        for worker, health in found
    ]
    order = [WorkerHealth.LOST, WorkerHealth.BEHIND, WorkerHealth.CURRENT]
    return sorted(standings, key=lambda standing: order.index(standing.health))


def late_checks(*, now: datetime.datetime) -> LateChecks:
    """Those that are due for longer than LATE_AFTER. One query of an index."""
    late = UpstreamHealth.objects.filter(
        next_due_at__lt=now - LATE_AFTER, upstream__enabled=True, upstream__host__enabled=True
    )
    return LateChecks(**late.aggregate(count=Count("pk"), since=Min("next_due_at")))


def _checked(now: datetime.datetime) -> list[_Checked]:
    is_fresh = Q(fresh_until__gt=now)
    failing = is_fresh & Q(state=HealthState.UNHEALTHY)
    rows = (
        UpstreamHealth.objects.filter(upstream__enabled=True, upstream__host__enabled=True)
        .order_by()
        .values_list("upstream__host")
        .annotate(
            total=Count("pk"),
            healthy=Count("pk", filter=is_fresh & Q(state=HealthState.HEALTHY)),
            failing=Count("pk", filter=failing),
            first_since=Min("since", filter=failing),
            last_since=Max("since", filter=failing),
            failing_code=Max("code", filter=failing),
        )
    )
    return [_Checked(*row) for row in rows]


def _unusable(now: datetime.datetime) -> Iterator[_Reason]:
    for refused, why in refusals(now=now).items():
        yield _Reason(uuid.UUID(refused), HostState.DOWN, f"A worker refuses its configuration: {why}")
    rows = CompiledHost.objects.exclude(problem="").exclude(entry_json="").values_list("pk", "problem", "compiled_at")
    for host_id, problem, at in rows:
        yield _Reason(host_id, HostState.DOWN, problem, since=at)


def _without_upstream() -> Iterator[_Reason]:
    upstreams = Upstream.objects.filter(host=OuterRef("pk"), enabled=True)
    for host_id in Host.objects.filter(~Exists(upstreams), enabled=True).order_by().values_list("pk", flat=True):
        yield _Reason(host_id, HostState.DOWN, "It has no upstream that is switched on.")


def _failing_checks(checked: Iterable[_Checked]) -> Iterator[_Reason]:
    for row in checked:
        if not row.failing:
            continue
        if row.failing == row.total:
            why = "Its upstream fails" if row.total == 1 else f"All {row.total} upstreams fail"
            yield _Reason(row.host_id, HostState.DOWN, f"{why} the checks.", row.code or "", row.last_since)
        else:
            why = f"{row.failing} of {row.total} upstreams fail{'s' if row.failing == 1 else ''} the checks."
            yield _Reason(row.host_id, HostState.DEGRADED, why, row.code or "", row.first_since)


def _half_served() -> Iterator[_Reason]:
    rows = CompiledHost.objects.exclude(downstream_problem="").exclude(entry_json="")
    for host_id, problem, at in rows.values_list("pk", "downstream_problem", "compiled_at"):
        yield _Reason(host_id, HostState.DEGRADED, f"HTTPS is refused: {problem}", since=at)


def _in_traffic(now: datetime.datetime) -> Iterator[_Reason]:
    """The last failure of each host that has had one lately."""
    rows = UpstreamFailure.objects.filter(at__gte=now - RECENT).order_by("-at")
    for host_id, code, at in rows.values_list("upstream__host_id", "code", "at"):
        yield _Reason(host_id, HostState.DEGRADED, "Requests failed at an upstream within the last minutes.", code, at)


def _named(reasons: Iterable[_Reason], names: Mapping[uuid.UUID, str]) -> Iterator[Trouble]:
    for reason in reasons:
        # What was deleted or switched off meanwhile is nobody's trouble.
        if name := names.get(reason.host_id):
            yield Trouble(
                host_id=reason.host_id,
                name=name,
                state=reason.state,
                why=reason.why,
                code=reason.code,
                since=reason.since,
            )


def _order(trouble: Trouble) -> tuple[bool, float, str]:
    since = trouble.since.timestamp() if trouble.since else 0.0
    return trouble.state is not HostState.DOWN, -since, trouble.name


def _published_after(generation: int) -> list[tuple[int, datetime.datetime]]:
    rows = CompiledHost.objects.filter(generation__gt=generation).order_by("generation")
    return list(rows.values_list("generation", "compiled_at"))


def _lag(
    worker: ProxyWorker, published: Sequence[tuple[int, datetime.datetime]], now: datetime.datetime
) -> datetime.timedelta | None:
    missing = (at for generation, at in published if generation > worker.generation)
    oldest = min(missing, default=None)
    return None if oldest is None else max(datetime.timedelta(), now - oldest)
