"""section: the health check as a section of its host."""

import pytest
from django.core.exceptions import ValidationError

from healthchecks.models import HealthCheck
from healthchecks.section import SECTION, apply_health_check
from hosts.models import Host


def test_defaults_are_those_of_a_new_row() -> None:
    """Of every column but its own two."""
    names = {field.name for field in HealthCheck._meta.concrete_fields} - {"id", "host"}
    row = HealthCheck()
    assert {name: getattr(row, name) for name in names} == SECTION.defaults
    assert SECTION.defaults["enabled"] is False


def test_all_errors_come_at_once() -> None:
    """Keyed by field."""
    check = HealthCheck(host=Host(name="orders"))
    with pytest.raises(ValidationError) as caught:
        apply_health_check(check, {"path": "x", "interval_s": 0, "expected_status": "2xx", "unhealthy_after": 99})
    assert set(caught.value.error_dict) >= {"path", "interval_s", "expected_status", "unhealthy_after"}
