"""Counts what is met, in the groups of the inbox.

Laws of this module:
- One transaction and a number of queries that does not depend on how many failures there are: two when all have been
  met before. Whoever has none asks nothing.
- A group that opens, or opens again, is told (`kernel.notifications`) in the same transaction when TLS is the cause.
- A host has at most MAX_GROUPS_PER_HOST groups; those go first that are resolved, then those not seen for longest.
"""

import datetime
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Case, IntegerField, Value, When

from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, host_group, tell_all
from healthchecks.failures.causes import is_tls
from healthchecks.failures.models import MESSAGE_CHARACTERS, FailureGroup, FailureState, Source
from hosts.models import ConnectionTest, Upstream
from hosts.upstream_failures import MAX_COUNT, printable
from upstream_tls.tls.meanings import meaning_of

MAX_GROUPS_PER_HOST = 500

_COUNTS = {Source.TRAFFIC: "traffic_count", Source.CHECK: "check_count", Source.TEST: "test_count"}
_UPDATED = (
    *_COUNTS.values(),
    "first_seen",
    "last_seen",
    "opened_at",
    "last_source",
    "message",
    "request_id",
    "state",
    "state_since",
    "state_by",
    "state_reason",
)

_Key = tuple[uuid.UUID, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """`count` failures of one upstream for one reason, the last of them at `at`."""

    host_id: uuid.UUID
    upstream_id: uuid.UUID
    code: str
    message: str
    at: datetime.datetime
    source: Source
    count: int = 1
    request_id: str = ""

    @property
    def key(self) -> _Key:
        """What it is grouped by."""
        return self.upstream_id, self.code


@transaction.atomic
def record_sightings(sightings: Sequence[Sighting], *, now: datetime.datetime) -> list[FailureGroup]:
    """Counts these. The groups that opened, or opened again, by it."""
    if not sightings:
        return []
    in_order = sorted(sightings, key=lambda sighting: sighting.at)
    groups = _locked(in_order)
    new = {sighting.key: sighting for sighting in reversed(in_order) if sighting.key not in groups}
    if new:
        # Another process may make the same ones: both go on from zero, one after the other. In order, as below.
        fresh = [_fresh(new[key], now) for key in sorted(new)]
        FailureGroup.objects.bulk_create(fresh, ignore_conflicts=True)
        groups = _locked(in_order)
    opened: dict[_Key, FailureGroup] = {}
    for sighting in in_order:
        group = groups[sighting.key]
        # One that was just made has no count yet, unless another process was faster.
        if group.count == 0 or (group.state == FailureState.RESOLVED and sighting.at > group.state_since):
            _open(group, sighting, now)
            opened[sighting.key] = group
        _count(group, sighting)
    # The rows exist and are locked, so this only updates, in one statement.
    FailureGroup.objects.bulk_create(
        groups.values(),
        update_conflicts=True,
        unique_fields=["host", "upstream", "code"],
        update_fields=_UPDATED,
    )
    _tell([group for group in opened.values() if is_tls(group.code) and not group.is_muted(now)])
    if new:
        _keep_bounded({sighting.host_id for sighting in new.values()})
    return list(opened.values())


def note_test(test: ConnectionTest, *, now: datetime.datetime) -> None:
    """A connection test has a result. One of something that is not saved says nothing about the host.

    Nor is it a failure when a host that serves nobody cannot: it may be just being set up.
    """
    if test.success or not test.is_of_saved_host or test.host is None or test.upstream_id is None:
        return
    if not test.host.enabled:
        return
    error = (test.result or {}).get("error") or {}
    sighting = Sighting(
        host_id=test.host.pk,
        upstream_id=test.upstream_id,
        code=test.code,
        message=printable(str(error.get("message", "")), MESSAGE_CHARACTERS),
        at=test.finished_at or now,
        source=Source.TEST,
    )
    record_sightings([sighting], now=now)


def _locked(sightings: Sequence[Sighting]) -> dict[_Key, FailureGroup]:
    """In the order of their keys, so that two batches cannot block each other for good."""
    wanted = {sighting.key for sighting in sightings}
    rows = FailureGroup.objects.select_for_update().filter(upstream_id__in={upstream_id for upstream_id, _ in wanted})
    found = {(row.upstream_id, row.code): row for row in rows.order_by("pk")}
    return {key: row for key, row in found.items() if key in wanted}


def _fresh(first: Sighting, now: datetime.datetime) -> FailureGroup:
    return FailureGroup(
        host_id=first.host_id,
        upstream_id=first.upstream_id,
        code=first.code,
        first_seen=first.at,
        last_seen=first.at,
        opened_at=first.at,
        last_source=first.source,
        state_since=now,
    )


def _open(group: FailureGroup, sighting: Sighting, now: datetime.datetime) -> None:
    group.opened_at = sighting.at
    group.state, group.state_since = FailureState.OPEN, now
    group.state_by = group.state_reason = ""


def _count(group: FailureGroup, sighting: Sighting) -> None:
    column = _COUNTS[sighting.source]
    setattr(group, column, min(getattr(group, column) + sighting.count, MAX_COUNT))
    group.first_seen = min(group.first_seen, sighting.at)
    if sighting.at >= group.last_seen:
        group.last_seen, group.last_source = sighting.at, sighting.source
        group.message, group.request_id = sighting.message, sighting.request_id


def _tell(groups: Sequence[FailureGroup]) -> None:
    if not groups:
        return
    ids = {group.upstream_id for group in groups}
    upstreams = Upstream.objects.select_related("host").in_bulk(list(ids))
    tell_all([_event(group, upstreams[group.upstream_id]) for group in groups if group.upstream_id in upstreams])


def _event(group: FailureGroup, upstream: Upstream) -> Event:
    meaning = meaning_of(group.code)
    details: Mapping[str, str] = {"Cause": meaning.cause, "Fix": meaning.fix} if meaning else {}
    return Event(
        kind=EventKind.TLS_FAILURE,
        # Each time that it opens it is a new one: nothing tells that it has ended.
        subject=f"failure:{group.pk}:{group.opened_at.timestamp():.0f}",
        group=host_group(group.host_id),
        title=f"{upstream.host.name}: TLS to {upstream} fails, {group.code}",
        at=group.opened_at,
        text=group.message,
        path=admin_page(group),
        details=details,
    )


def _keep_bounded(host_ids: Collection[uuid.UUID]) -> None:
    is_resolved = Case(When(state=FailureState.RESOLVED, then=Value(1)), default=Value(0), output_field=IntegerField())
    for host_id in host_ids:
        rows = FailureGroup.objects.filter(host_id=host_id).order_by(is_resolved, "-last_seen", "-pk")
        if surplus := list(rows.values_list("pk", flat=True)[MAX_GROUPS_PER_HOST:]):
            FailureGroup.objects.filter(pk__in=surplus).delete()
