"""How long entries are kept."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.kernel.audit import retention
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.retention import prune
from aegis_site.kernel.site_settings.models import SiteSettings

KEPT_DAYS = SiteSettings().audit_retention_days

pytestmark = pytest.mark.django_db


def entry_at(at: datetime.datetime) -> AuditEntry:
    return AuditEntry.objects.create(at=at, action="created", target_type="host", target_id="1", target_name="orders")


def test_only_what_is_too_old_goes() -> None:
    """To the moment."""
    now = timezone.now()
    kept = entry_at(now - datetime.timedelta(days=KEPT_DAYS))
    entry_at(now - datetime.timedelta(days=KEPT_DAYS, seconds=1))
    assert prune(now=now) == 1
    assert list(AuditEntry.objects.all()) == [kept]
    assert prune(now=now) == 0


def test_it_works_in_batches_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep does so much and leaves the rest to the next one, the oldest first."""
    monkeypatch.setattr(retention, "ROWS_PER_BATCH", 2)
    monkeypatch.setattr(retention, "BATCHES_PER_SWEEP", 2)
    now = timezone.now()
    for days in range(1, 6):
        entry_at(now - datetime.timedelta(days=KEPT_DAYS + days))
    assert prune(now=now) == 4
    assert AuditEntry.objects.get().at == now - datetime.timedelta(days=KEPT_DAYS + 1)
    assert prune(now=now) == 1
