"""Writing the audit log.

Laws of this module: an entry is written in the transaction of the change itself, so that neither is there without the
other. What is written was made harmless before: see `aegis_site.kernel.audit.changes`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import Change
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.origin import Source, current_source

ENTRIES_PER_INSERT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to one thing, and who did it."""

    user: Actor | None
    action: str
    target_type: str
    target_id: object
    target_name: str
    changes: Sequence[Change] = ()


def record(
    *,
    user: Actor | None,
    action: str,
    target_type: str,
    target_id: object,
    target_name: str,
    changes: Sequence[Change] = (),
) -> AuditEntry:
    """Add one entry, in the transaction of the change itself. `changes` hold no secret: see `differences`."""
    event = Event(
        user=user,
        action=action,
        target_type=target_type,
        target_id=target_id,
        target_name=target_name,
        changes=changes,
    )
    (entry,) = record_many([event])
    return entry


def record_many(events: Iterable[Event], *, deleted_users: Collection[object] = ()) -> list[AuditEntry]:
    """As `record`, a few statements for all. Whoever is among `deleted_users`, by id, is named without being linked."""
    source = current_source()
    entries = [_entry(event, source, deleted_users) for event in events]
    return AuditEntry.objects.bulk_create(entries, batch_size=ENTRIES_PER_INSERT)


def _entry(event: Event, source: Source, deleted_users: Collection[object]) -> AuditEntry:
    known = event.user if event.user is not None and event.user.pk is not None else None
    return AuditEntry(
        user_id=known.pk if known is not None and known.pk not in deleted_users else None,
        user_name=known.get_username()[:150] if known is not None else "",
        origin=source.origin,
        client_address=source.client_address,
        action=event.action,
        target_type=event.target_type,
        target_id=str(event.target_id)[:64],
        target_name=storable(event.target_name)[:255],
        changes=list(event.changes),
    )


def storable(name: str) -> str:
    """Without what a database refuses."""
    return name.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
