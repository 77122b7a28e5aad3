"""Which upstreams are checked, and who checks them now.

Laws of this module:
- A check is taken by moving its `next_due_at` behind the moment at which it must be over, under a lock, and by leaving
  a claim of one's own. So of several workers one gets it, and the check of a worker that died is due again by itself.
- An upstream that is checked for the first time, or whose host was changed, gets a moment of its own within the
  interval: a thousand upstreams that were imported at once are not checked at once. So do those whose claims expired,
  for the claims of one sweep expire at one moment.
"""

import datetime
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Q, QuerySet

from healthchecks.models import HealthState, HealthTransition, UpstreamHealth
from hosts.models import Upstream

# The checks of so much time ahead are taken at once; each begins at its own moment.
AHEAD = datetime.timedelta(seconds=1)
# After its deadline a check has so much time to be written down, before it counts as lost.
LEASE_GRACE = datetime.timedelta(seconds=5)
# How long the first check of an upstream may be put off, for long intervals.
MAX_FIRST_DELAY_S = 10.0

NOT_CHECKED = "Not checked any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One check that is ours to do, at `due_at`."""

    claim_id: uuid.UUID
    upstream_id: uuid.UUID
    host_id: uuid.UUID
    host_version: datetime.datetime
    due_at: datetime.datetime
    interval_s: float
    healthy_after: int
    unhealthy_after: int


def synchronise(*, now: datetime.datetime, draw: Callable[[], float] = random.random) -> None:
    """A row for each upstream that is to be checked, and for no other. Two queries when nothing changed."""
    checked = _checked_upstreams()
    if gone := list(UpstreamHealth.objects.exclude(upstream__in=checked.values("pk")).values_list("pk", flat=True)):
        _check_no_more(gone, now=now)
    missing = checked.filter(health=None).values_list("pk", "host__health_check__interval_s", "host__updated_at")
    rows = [
        UpstreamHealth(
            upstream_id=upstream_id,
            since=now,
            host_version=host_version,
            next_due_at=now + datetime.timedelta(seconds=draw() * min(interval_s, MAX_FIRST_DELAY_S)),
        )
        for upstream_id, interval_s, host_version in missing
    ]
    # Another worker may do the same.
    UpstreamHealth.objects.bulk_create(rows, ignore_conflicts=True)


@transaction.atomic
def _check_no_more(upstream_ids: Sequence[uuid.UUID], *, now: datetime.datetime) -> None:
    """Their state is unknown from now on, and history says so."""
    rows = UpstreamHealth.objects.select_for_update().filter(pk__in=upstream_ids)
    HealthTransition.objects.bulk_create(
        HealthTransition(
            upstream_id=row.pk,
            at=min(now, row.fresh_until or now),
            previous=row.state,
            state=HealthState.UNKNOWN,
            message=NOT_CHECKED,
        )
        for row in rows
        if row.state != HealthState.UNKNOWN
    )
    UpstreamHealth.objects.filter(pk__in=[row.pk for row in rows]).delete()


@transaction.atomic
def claim_due(*, now: datetime.datetime, limit: int, draw: Callable[[], float] = random.random) -> list[Claim]:
    """At most `limit` checks that are due now or within AHEAD, the longest due first. Two queries, mostly."""
    changed = ~Q(host_version=F("upstream__host__updated_at"))
    due = (
        UpstreamHealth.objects.select_for_update(skip_locked=True, of=("self",))
        .filter(Q(next_due_at__lte=now + AHEAD) | changed)
        .select_related("upstream__host__health_check")
        .only(
            "next_due_at",
            "host_version",
            "claim",
            "upstream__host__updated_at",
            *(f"upstream__host__health_check__{name}" for name in ("interval_s", "timeout_s", "healthy_after")),
            "upstream__host__health_check__unhealthy_after",
        )
        .order_by("next_due_at")[: max(0, limit)]
    )
    claim_id = uuid.uuid4()
    claims: list[Claim] = []
    leases: defaultdict[tuple[float, datetime.datetime | None], list[uuid.UUID]] = defaultdict(list)
    for row in due:
        claims.append(_claim(row, claim_id, now, draw()))
        check, host = row.upstream.host.health_check, row.upstream.host
        version = None if row.host_version == host.updated_at else host.updated_at
        leases[(check.timeout_s, version)].append(row.pk)
    for (timeout_s, version), keys in leases.items():
        values = {"next_due_at": now + AHEAD + datetime.timedelta(seconds=timeout_s) + LEASE_GRACE, "claim": claim_id}
        if version is not None:
            values["host_version"] = version
        UpstreamHealth.objects.filter(pk__in=keys).update(**values)
    return claims


def _claim(row: UpstreamHealth, claim_id: uuid.UUID, now: datetime.datetime, drawn: float) -> Claim:
    host = row.upstream.host
    check = host.health_check
    due_at = row.next_due_at
    if row.host_version != host.updated_at and due_at > now + AHEAD:
        # The host was changed: soon, and not all of its upstreams at once.
        due_at = now + drawn * AHEAD
    elif row.claim is not None:
        due_at = max(now, due_at) + drawn * AHEAD
    return Claim(
        claim_id=claim_id,
        upstream_id=row.pk,
        host_id=host.pk,
        host_version=host.updated_at,
        due_at=due_at,
        interval_s=check.interval_s,
        healthy_after=check.healthy_after,
        unhealthy_after=check.unhealthy_after,
    )


def _checked_upstreams() -> QuerySet[Upstream]:
    return Upstream.objects.filter(enabled=True, host__enabled=True, host__health_check__enabled=True).order_by()


def verdicts() -> dict[str, HealthState]:
    """The state of each upstream that has one. One query."""
    rows = UpstreamHealth.objects.exclude(state=HealthState.UNKNOWN).values_list("pk", "state")
    return {str(upstream_id): HealthState(state) for upstream_id, state in rows}
