"""Periodic work on the audit log."""

import logging

from celery import shared_task
from django.utils import timezone

from aegis_site.kernel.audit.retention import prune

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_audit_log() -> None:
    """Delete what is older than is kept."""
    if count := prune(now=timezone.now()):
        logger.info("deleted %d audit entries that were older than is kept", count)
