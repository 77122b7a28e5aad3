"""Questions about the audit log."""

import pytest

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.selectors import stored_values

pytestmark = pytest.mark.django_db


def test_the_values_that_occur(django_assert_num_queries: pytest.FixtureRequest) -> None:
    """Each once, in order; none of an empty log."""
    assert stored_values("action") == []
    for action in ("issued", "changed", "issued", "deleted", "changed"):
        AuditEntry.objects.create(action=action, target_type="host", target_id="1", target_name="x")
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert stored_values("action") == ["changed", "deleted", "issued"]
    assert stored_values("target_type") == ["host"]
