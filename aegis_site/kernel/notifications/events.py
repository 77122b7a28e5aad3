"""Taking note of what happened.

Laws of this module:
- Whoever sees something happen calls `tell` inside the transaction that records it, so that both are kept or neither
  is; nothing here sends anything, and nothing here waits but for the row of the same subject.
- What is no news is not noted: what was told already and still lasts, and the end of what nobody was told of.
- An event carries no secret.
"""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import models, transaction

from aegis_site.kernel.notifications.kinds import ENDS, EventKind, quiet_time
from aegis_site.kernel.notifications.models import Incident, NotedEvent, Outcome

__all__ = ["Event", "EventKind", "settle", "tell", "tell_all"]

# What begins for the fourth time, never more than so long after the time before, flaps.
FLAP_WINDOW = datetime.timedelta(minutes=10)
MAX_OPENINGS = 3

_ROWS_AT_ONCE = 500
_MAX_DETAILS = 20
_MAX_DETAIL_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    `subject` names what it happened to, as `upstream:<id>`: the same kind of event for the same subject is told once,
    until it ends. `group` is what events are told together by, as `host:<id>`; maintenance of a host is recognised by
    it. `path` is the page of the admin to look at, beginning with a slash. `details` are short texts by their label.
    """

    kind: EventKind
    subject: str
    group: str
    title: str
    at: datetime.datetime
    text: str = ""
    path: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


def host_group(host_id: object) -> str:
    """What happens to a host is told together, and maintenance of it is recognised, by this."""
    return f"host:{host_id}"


def admin_page(row: models.Model) -> str:
    """Where the admin shows a row. Written out: the Celery worker has no admin that could be asked."""
    return admin_page_of(type(row), row.pk)


def admin_page_of(model: type[models.Model], key: object) -> str:
    """As `admin_page`, of a row that need not be read for it."""
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{key}/change/"


def tell(event: Event) -> None:
    """Takes note of an event; who wants to hear of it is told soon after the transaction is committed."""
    tell_all([event])


@transaction.atomic
def tell_all(events: Sequence[Event]) -> None:
    """As `tell`, in order. A number of queries that does not depend on theirs, but for very many."""
    for start in range(0, len(events), _ROWS_AT_ONCE):
        _tell(events[start : start + _ROWS_AT_ONCE])


@transaction.atomic
def settle(kind: EventKind, *, lasting: Collection[str]) -> None:
    """Ends in silence what no longer lasts of this kind: all subjects but these. For what was deleted or put right."""
    incidents = Incident.objects.filter(kind=kind, ended_at=None)
    over = [key for key, subject in incidents.values_list("pk", "subject") if subject not in lasting]
    for start in range(0, len(over), _ROWS_AT_ONCE):
        part = over[start : start + _ROWS_AT_ONCE]
        # Locked in order, as `_locked_incidents` does it.
        rows = Incident.objects.select_for_update().filter(pk__in=part, ended_at=None).order_by("pk")
        still = list(rows.values_list("pk", flat=True))
        Incident.objects.filter(pk__in=still).update(ended_at=_NO_MATTER_WHEN, openings=0)


# Of what ended in silence nobody asks how long it lasted.
_NO_MATTER_WHEN = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


def _tell(events: Sequence[Event]) -> None:
    incidents = _locked_incidents(events)
    noted: list[tuple[NotedEvent, Incident]] = []
    for event in events:
        incident = incidents.get(_key(event))
        is_end = event.kind in ENDS
        if incident is None or not (_end(incident, event) if is_end else _begin(incident, event)):
            continue
        row = _row(event)
        if is_end:
            row.since = incident.began_at
            row.outcome = Outcome.MUTED if incident.is_muted else Outcome.PENDING
        row.is_flapping = incident.openings > MAX_OPENINGS
        noted.append((row, incident))
    NotedEvent.objects.bulk_create([row for row, _ in noted])
    for row, incident in noted:
        if row.kind not in ENDS:
            incident.event = row
    Incident.objects.bulk_update(
        {incident.pk: incident for _, incident in noted}.values(),
        ["began_at", "ended_at", "told_at", "openings", "is_muted", "event"],
    )


def _key(event: Event) -> str:
    return f"{ENDS.get(event.kind, event.kind)}|{event.subject}"


def _locked_incidents(events: Sequence[Event]) -> dict[str, Incident]:
    """By key; those of beginnings are made if need be. Two queries."""
    beginnings = {_key(event): event for event in events if event.kind not in ENDS}
    if beginnings:
        # Somebody else may do the same; in order, so that two of us cannot block each other for good.
        rows = [
            Incident(key=key, kind=beginnings[key].kind, subject=beginnings[key].subject) for key in sorted(beginnings)
        ]
        Incident.objects.bulk_create(rows, ignore_conflicts=True)
    keys = {_key(event) for event in events}
    found = Incident.objects.select_for_update().filter(key__in=keys).order_by("pk")
    return {incident.key: incident for incident in found}


def _begin(incident: Incident, event: Event) -> bool:
    """Whether it is news."""
    lasts = incident.ended_at is None and incident.began_at is not None
    # Clocks are set back too: what was told long after now was told long ago.
    if lasts and incident.told_at is not None and abs(event.at - incident.told_at) < quiet_time(event.kind):
        return False
    if not lasts:
        follows = incident.began_at is not None and abs(event.at - incident.began_at) <= FLAP_WINDOW
        incident.openings = incident.openings + 1 if follows else 1
        incident.began_at, incident.ended_at, incident.is_muted = event.at, None, False
    incident.told_at = event.at
    return True


def _end(incident: Incident, event: Event) -> bool:
    if incident.began_at is None or incident.ended_at is not None:
        return False
    incident.ended_at = event.at
    return True


def _row(event: Event) -> NotedEvent:
    details = [(_text(label, 60), _text(value, _MAX_DETAIL_CHARACTERS)) for label, value in event.details.items()]
    return NotedEvent(
        kind=event.kind,
        subject=event.subject,
        group=event.group,
        title=_text(event.title, 255),
        text=_text(event.text, 1000),
        path=event.path,
        details=dict(details[:_MAX_DETAILS]),
        at=event.at,
    )


def _text(text: str, limit: int) -> str:
    """What the column takes; a text may quote names from an upstream's certificate."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
