"""How long audit entries are kept."""

import datetime

from django.db import transaction

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.site_settings.services import current_settings

ROWS_PER_BATCH = 2000
# A sweep that is not done then goes on at the next tick, so it never keeps a worker for long.
BATCHES_PER_SWEEP = 100


def prune(*, now: datetime.datetime) -> int:
    """Delete entries that are older than is kept, oldest first, in short transactions. How many there were."""
    deleted = 0
    before = now - datetime.timedelta(days=current_settings().audit_retention_days)
    for _ in range(BATCHES_PER_SWEEP):
        count = _prune_batch(before)
        deleted += count
        if count < ROWS_PER_BATCH:
            break
    return deleted


@transaction.atomic
def _prune_batch(before: datetime.datetime) -> int:
    old = AuditEntry.objects.filter(at__lt=before).order_by("at")
    ids = list(old.values_list("pk", flat=True)[:ROWS_PER_BATCH])
    return AuditEntry.objects.filter(pk__in=ids).delete()[0]
