"""How a group stands: what a person says of it, and when it is over by itself.

Laws of this module:
- What a person does is in the audit log; every change is a compare-and-set or under a lock.
- Aegis resolves a group when its upstream is known to be well again for WELL_FOR, or when nobody met the failure for
  UNSEEN_FOR. Where nothing asks the upstream, silence is not success, so that takes longer.
"""

import datetime
from collections.abc import Callable, Collection
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import Described, Kind, changing
from healthchecks.failures.models import FailureGroup, FailureState
from healthchecks.models import HealthState, UpstreamHealth
from hosts.models import ConnectionTest, ConnectionTestState, Host, Upstream

WELL_FOR = datetime.timedelta(minutes=5)
UNSEEN_FOR = datetime.timedelta(hours=24)
# When nobody says until when.
MUTED_FOR = datetime.timedelta(days=1)
KEPT_RESOLVED = datetime.timedelta(days=30)
# Deleted at once.
BATCH = 2000


def _read(ids: Collection[Any]) -> dict[Any, Described]:
    rows = FailureGroup.objects.filter(pk__in=ids).select_related("host", "upstream")
    return {
        row.pk: Described(name=f"{row.code} at {row.host}, {row.upstream}", document=_document(row)) for row in rows
    }


def _document(row: FailureGroup) -> dict[str, Any]:
    muted_until = row.muted_until.isoformat() if row.muted_until else None
    return {"state": row.state, "reason": row.state_reason, "muted_until": muted_until}


FAILURES = Kind(target_type="failure", read=_read)


def acknowledge(*, groups: Collection[FailureGroup], user: Actor, now: datetime.datetime) -> int:
    """Somebody knows of these. How many were open."""

    def change(row: FailureGroup) -> bool:
        if row.state != FailureState.OPEN:
            return False
        _stand(row, FailureState.ACKNOWLEDGED, user=user, now=now)
        return True

    return _change(groups, user, change)


def resolve(*, groups: Collection[FailureGroup], user: Actor, now: datetime.datetime) -> int:
    """Somebody says that these are over; seen again, they open again. How many were not resolved."""

    def change(row: FailureGroup) -> bool:
        if row.state == FailureState.RESOLVED:
            return False
        _stand(row, FailureState.RESOLVED, user=user, now=now, reason="by hand")
        return True

    return _change(groups, user, change)


def mute(*, groups: Collection[FailureGroup], until: datetime.datetime | None, user: Actor) -> int:
    """Leave these out of the count, and tell nobody of them, until then; None: no longer. How many it changed."""

    def change(row: FailureGroup) -> bool:
        is_new = row.muted_until != until
        row.muted_until = until
        return is_new

    return _change(groups, user, change)


def resolve_recovered(*, now: datetime.datetime) -> int:
    """Resolves those of upstreams that are well again, and those that nobody has met for long. How many."""
    standing = FailureGroup.objects.exclude(state=FailureState.RESOLVED)
    well = UpstreamHealth.objects.filter(
        upstream=OuterRef("upstream"),
        state=HealthState.HEALTHY,
        is_ok=True,
        since__lte=now - WELL_FOR,
        checked_at__gte=now - 2 * WELL_FOR,
    )
    tested = ConnectionTest.objects.filter(
        upstream=OuterRef("upstream"),
        state=ConnectionTestState.DONE,
        is_of_saved_host=True,
        success=True,
        finished_at__gt=OuterRef("last_seen"),
    )
    recovered = standing.filter(Q(last_seen__lte=now - WELL_FOR) & (Exists(well) | Exists(tested)))
    unseen = standing.filter(last_seen__lte=now - UNSEEN_FOR)
    count = 0
    for rows, reason in ((recovered, "the upstream is well again"), (unseen, "not seen for a day")):
        count += _resolve(rows, reason, now)
    return count


@transaction.atomic
def _resolve(rows: QuerySet[FailureGroup], reason: str, now: datetime.datetime) -> int:
    # Locked in order, as who counts in them does it, so that neither waits for the other for good.
    locked = list(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
    return FailureGroup.objects.filter(pk__in=locked).update(
        state=FailureState.RESOLVED, state_since=now, state_by="", state_reason=reason
    )


def forget_old_failures(*, now: datetime.datetime) -> int:
    """Deletes what was resolved long ago, and what upstreams left behind that are gone. How many there were."""
    hosts, upstreams = Host.objects.filter(pk=OuterRef("host_id")), Upstream.objects.filter(pk=OuterRef("upstream_id"))
    old = FailureGroup.objects.filter(
        Q(state=FailureState.RESOLVED, state_since__lt=now - KEPT_RESOLVED) | ~Exists(hosts) | ~Exists(upstreams)
    )
    return FailureGroup.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:BATCH])).delete()[0]


def _stand(row: FailureGroup, state: FailureState, *, user: Actor, now: datetime.datetime, reason: str = "") -> None:
    row.state, row.state_since = state, now
    row.state_by, row.state_reason = user.get_username(), reason


@transaction.atomic
def _change(groups: Collection[FailureGroup], user: Actor, change: Callable[[FailureGroup], bool]) -> int:
    ids = [group.pk for group in groups]
    # The rows alone: a join that finds nothing would hide one whose upstream is being deleted.
    rows = list(FailureGroup.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
    with changing(FAILURES, ids, user=user):
        changed = [row for row in rows if change(row)]
        FailureGroup.objects.bulk_update(
            changed, ["state", "state_since", "state_by", "state_reason", "muted_until"], batch_size=200
        )
    return len(changed)
