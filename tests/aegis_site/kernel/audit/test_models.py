"""The rows of the audit log."""

import pytest

from aegis_site.kernel.audit.models import AuditEntry

pytestmark = pytest.mark.django_db


def test_the_newest_come_first() -> None:
    """Of the same moment, the one that was written last."""
    for name in ("a", "b"):
        AuditEntry.objects.create(
            at="2026-01-01T00:00:00Z", action="changed", target_type="host", target_id="1", target_name=name
        )
    assert [str(entry) for entry in AuditEntry.objects.all()] == ["host b changed", "host a changed"]


@pytest.mark.parametrize("column", ["target_type", "target_id", "user_name", "action", "origin"])
def test_filters_need_no_sorting(column: str) -> None:
    """Each has an index in the order of the list."""
    plan = AuditEntry.objects.filter(**{column: "x"}).explain()
    assert "USING INDEX" in plan
    assert "TEMP B-TREE" not in plan
