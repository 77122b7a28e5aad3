"""What is forgotten: events, messages that are done, and incidents that are over, after a month."""

import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from aegis_site.kernel.notifications.models import (
    Delivery,
    DeliveryState,
    Incident,
    MaintenanceWindow,
    NotedEvent,
    Outcome,
)

KEPT = datetime.timedelta(days=30)
# An expiry is told once for each number of days that are left, so it is remembered for longer than the longest.
KEPT_INCIDENTS = datetime.timedelta(days=90)
KEPT_WINDOWS = datetime.timedelta(days=365)
# Deleted at once, with what hangs on them: a message has up to 200 events. A longer transaction would hold up those who
# write; this one takes a twentieth of a second.
BATCH = 200
MAX_BATCHES = 500


def forget(*, now: datetime.datetime) -> int:
    """Delete what is old, in batches. How many rows there were. What is left waits for the next run."""
    done = Delivery.objects.exclude(state=DeliveryState.WAITING).filter(created_at__lt=now - KEPT)
    pairs = Delivery.events.through._default_manager
    waiting = pairs.filter(notedevent=OuterRef("pk"), delivery__state=DeliveryState.WAITING)
    lasting = Incident.objects.filter(event=OuterRef("pk"), ended_at=None)
    # What is not distributed yet is locked by who does that, and needed.
    decided = NotedEvent.objects.exclude(outcome=Outcome.PENDING)
    events = decided.filter(~Exists(waiting), ~Exists(lasting), at__lt=now - KEPT)
    old = now - KEPT_INCIDENTS
    # What lasts is told every day, so it is never that old, unless a maintenance window covers it.
    incidents = Incident.objects.filter(told_at__lt=old).exclude(ended_at=None, is_muted=True)
    windows = MaintenanceWindow.objects.filter(ends_at__lt=now - KEPT_WINDOWS)
    return (
        _delete(done) + _delete(events, changes="event__in") + _delete(incidents, changes="pk__in") + _delete(windows)
    )


def _delete(rows: QuerySet[Any], *, changes: str = "") -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        # First asked, then deleted: writers wait for the second only.
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
        _delete_batch(rows.filter(pk__in=keys), Incident.objects.filter(**{changes: keys}) if changes else None)
        total += len(keys)
        if len(keys) < BATCH:
            break
    return total


@transaction.atomic
def _delete_batch(rows: QuerySet[Any], changed: QuerySet[Incident] | None) -> None:
    """Those that are still to go: what began anew in the meantime, or is sent again, is kept."""
    if changed is not None:
        # Locked in order, as `tell` does it, so that neither waits for the other for good.
        list(changed.select_for_update().order_by("pk").values_list("pk"))
    rows.delete()
