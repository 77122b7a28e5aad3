"""The periodic work of notifications. Each task may run at any time, also twice."""

import uuid

from celery import shared_task
from django.utils import timezone

from aegis_site.kernel.notifications.claims import claim_due
from aegis_site.kernel.notifications.delivering import deliver
from aegis_site.kernel.notifications.distribution import distribute, remind
from aegis_site.kernel.notifications.retention import forget


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_notifications() -> None:
    """Decide who hears of what happened, and have sent what is due."""
    now = timezone.now()
    remind(now=now)
    distribute(now=now)
    for claim in claim_due(now=now):
        deliver_notification.delay(str(claim.delivery_id), str(claim.claim_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def deliver_notification(delivery_id: str, claim_id: str) -> None:
    """One attempt; delivered twice, the task makes one."""
    deliver(delivery_id=uuid.UUID(delivery_id), claim_id=uuid.UUID(claim_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def forget_notifications() -> None:
    """Delete what is older than is kept."""
    forget(now=timezone.now())
