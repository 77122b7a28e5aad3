"""Periodic work on the audit log."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.celery import app
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.tasks import prune_audit_log
from aegis_site.kernel.site_settings.models import SiteSettings

KEPT_DAYS = SiteSettings().audit_retention_days

pytestmark = pytest.mark.django_db


def test_old_entries_are_pruned(caplog: pytest.LogCaptureFixture) -> None:
    """By a task that beat knows; it says how many when there were any."""
    at = timezone.now() - datetime.timedelta(days=KEPT_DAYS + 1)
    AuditEntry.objects.create(at=at, action="created", target_type="host", target_id="1", target_name="orders")
    with caplog.at_level("INFO"):
        prune_audit_log.delay()
        prune_audit_log.delay()
    assert not AuditEntry.objects.exists()
    assert [record.getMessage() for record in caplog.records if "audit" in record.name] == [
        "deleted 1 audit entries that were older than is kept"
    ]
    assert prune_audit_log.name in {entry["task"] for entry in app.conf.beat_schedule.values()}
