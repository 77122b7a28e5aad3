"""Undoing one entry of the audit log that changed a host, or all since a time.

Laws of this module:
- The values go the way of every change: `update_host`, with its validation, its publishing and its entry in the log,
  which names the entry that it reverts.
- Fails closed: with a conflict, or with a value that is not valid any more, nothing is changed.
"""

import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import Change
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.recording import one_entry_each
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.site_settings.services import current_settings
from hosts.api.serializers import HostSerializer, spec_of
from hosts.audit import HOSTS, described
from hosts.models import Host
from hosts.revert_plan import NOTE, NOTE_OF_TIME, Plan, plan_revert
from hosts.services import update_host

REVERTED = "reverted"

# Undone at once. A host that is changed every hour reaches it in three weeks.
MAX_ENTRIES = 500

# A host that is made or deleted is more than the values in its entry.
_NOT_CHANGES = ("created", "deleted")


class NotRevertible(AegisError):
    """This entry cannot be reverted, or not as things are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """The host as it was before the revert, and what the revert does. `note` is what the log says of it."""

    host: Host
    plan: Plan
    note: Change

    @property
    def version(self) -> datetime.datetime:
        """Of the host, as it was planned for."""
        return self.host.updated_at


def is_revertible(entry: AuditEntry) -> bool:
    """Whether it is an entry of a kind that can be. No query; its host may be gone."""
    return entry.target_type == HOSTS.target_type and entry.action not in _NOT_CHANGES and bool(entry.changes)


def planned_revert(entry: AuditEntry) -> Reversal:
    """What a revert of one entry would do. Three queries. Raises NotRevertible."""
    if not is_revertible(entry):
        raise NotRevertible("not_revertible", "Only a change of a host can be reverted, not its making or its end.")
    host_id = _identifier(entry.target_id)
    host = Host.objects.with_configuration().filter(pk=host_id).first() if host_id else None
    if host is None:
        raise NotRevertible("host_gone", f"The host {entry.target_name} was deleted.")
    note = Change(field=NOTE, before=None, after=entry.pk)
    return Reversal(host=host, plan=plan_revert([entry], host), note=note)


def planned_return(host_id: uuid.UUID, *, to: datetime.datetime) -> Reversal:
    """What putting a host back as of a time would do. Four queries. Raises NotRevertible, Host.DoesNotExist."""
    host = Host.objects.with_configuration().get(pk=host_id)
    if to < host.created_at:
        raise NotRevertible("before_its_time", f"The host was made at {host.created_at:%Y-%m-%d %H:%M:%S} UTC.")
    kept_since = timezone.now() - datetime.timedelta(days=current_settings().audit_retention_days)
    if to < kept_since:
        raise NotRevertible("before_the_log", f"The audit log begins at {kept_since:%Y-%m-%d %H:%M:%S} UTC.")
    later = AuditEntry.objects.filter(target_type=HOSTS.target_type, target_id=str(host_id), at__gt=to)
    entries = list(later.exclude(action__in=_NOT_CHANGES)[: MAX_ENTRIES + 1])
    if len(entries) > MAX_ENTRIES:
        message = f"More than {MAX_ENTRIES} changes were made since then: go back in steps."
        raise NotRevertible("too_many_changes", message)
    note = Change(field=NOTE_OF_TIME, before=None, after=to.isoformat())
    return Reversal(host=host, plan=plan_revert(entries, host), note=note)


def revert(
    *, entry: AuditEntry, user: Actor, version: datetime.datetime | None = None, is_dry_run: bool = False
) -> Reversal:
    """Undo an entry. `version` is that of the host which the caller saw. A dry run does all of it and keeps nothing.

    Raises NotRevertible, ValidationError by field. A dry run reports conflicts instead of raising them.
    """
    return _revert(
        _identifier(entry.target_id), lambda: planned_revert(entry), user=user, version=version, is_dry_run=is_dry_run
    )


def return_to(
    *,
    host_id: uuid.UUID,
    to: datetime.datetime,
    user: Actor,
    version: datetime.datetime | None = None,
    is_dry_run: bool = False,
) -> Reversal:
    """Put a host back as it was at that time, by one change. As `revert`, and raises Host.DoesNotExist."""
    return _revert(host_id, lambda: planned_return(host_id, to=to), user=user, version=version, is_dry_run=is_dry_run)


@transaction.atomic
def _revert(
    host_id: uuid.UUID | None,
    planned: Callable[[], Reversal],
    *,
    user: Actor,
    version: datetime.datetime | None,
    is_dry_run: bool,
) -> Reversal:
    # First the lock: PostgreSQL would show joined rows as they were before it was waited for.
    if host_id is not None:
        Host.objects.select_for_update().filter(pk=host_id).first()
    reversal = planned()
    if version is not None and version != reversal.version:
        raise NotRevertible("changed_meanwhile", "The host was changed meanwhile. Look at the differences again.")
    if is_dry_run and reversal.plan.conflicts:
        return reversal
    _check(reversal.plan)
    with one_entry_each(user=user) as recording:
        host = reversal.host
        recording.remember(HOSTS, [host.pk], action=REVERTED, found={host.pk: described(host)})
        recording.note(HOSTS, host.pk, reversal.note)
        _apply(reversal, user)
    if is_dry_run:
        transaction.set_rollback(True)
    return reversal


def _check(plan: Plan) -> None:
    if plan.conflicts:
        names = ", ".join(plan.conflicts[:10])
        raise NotRevertible("changed_since", f"Changed again since then, so nothing is reverted: {names}.")
    if not plan.changes:
        raise NotRevertible("nothing_to_revert", "Nothing that was changed can be put back.")


def _apply(reversal: Reversal, user: Actor) -> None:
    serializer = HostSerializer(data=reversal.plan.body, partial=True)
    serializer.is_valid(raise_exception=True)
    update_host(host=reversal.host, spec=spec_of(serializer.validated_data, is_whole=False), user=user)


def _identifier(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
