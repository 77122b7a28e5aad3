"""What is forgotten: events, messages that are done, and incidents that are over, after a month."""

import datetime

from django.db.models import Model, Q, QuerySet

from aegis_site.kernel.notifications.models import Delivery, DeliveryState, Incident, MaintenanceWindow, NotedEvent

KEPT = datetime.timedelta(days=30)
# An expiry is told once for each number of days that are left, so it is remembered for longer than the longest.
KEPT_INCIDENTS = datetime.timedelta(days=90)
KEPT_WINDOWS = datetime.timedelta(days=365)
# Deleted at once; a longer transaction would hold up those who write.
BATCH = 1000
MAX_BATCHES = 100


def forget(*, now: datetime.datetime) -> int:
    """Delete what is old, in batches. How many rows there were. What is left waits for the next run."""
    done = Delivery.objects.exclude(state=DeliveryState.WAITING).filter(created_at__lt=now - KEPT)
    waiting = Q(deliveries__state=DeliveryState.WAITING) | Q(incidents__ended_at=None, incidents__isnull=False)
    needed = NotedEvent.objects.filter(waiting).values("pk")
    events = NotedEvent.objects.filter(at__lt=now - KEPT).exclude(pk__in=needed)
    old = now - KEPT_INCIDENTS
    # What lasts is told every day, so it is never that old, unless a maintenance window covers it.
    incidents = Incident.objects.filter(told_at__lt=old).exclude(ended_at=None, is_muted=True)
    windows = MaintenanceWindow.objects.filter(ends_at__lt=now - KEPT_WINDOWS)
    return sum(map(_delete, (done, events, incidents, windows)))


def _delete(rows: QuerySet[Model]) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
        rows.model._default_manager.filter(pk__in=keys).delete()
        total += len(keys)
        if len(keys) < BATCH:
            break
    return total
