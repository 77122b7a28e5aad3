"""Periodic work on kept answers."""

from celery import shared_task
from django.utils import timezone

from aegis_site.kernel.idempotency.services import prune


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def forget_kept_answers() -> None:
    """Delete the answers whose time is over."""
    prune(now=timezone.now())
