"""The health check as a section of its host.

Laws of this module: what is valid is decided by the columns and by `HealthCheck.clean`, for the editor too.
"""

from collections.abc import Mapping
from typing import Any, cast

from django.db.models import Field

from healthchecks.models import HealthCheck
from hosts.sections import HostSection

NAME = "health_check"

FIELDS = (
    "enabled",
    "kind",
    "method",
    "path",
    "host_field",
    "expected_status",
    "body_contains",
    "headers",
    "interval_s",
    "timeout_s",
    "healthy_after",
    "unhealthy_after",
)


def _column(name: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", HealthCheck._meta.get_field(name))


def apply_health_check(check: HealthCheck, changes: Mapping[str, Any]) -> None:
    """Assign `changes`; saves nothing. Raises ValidationError."""
    for name, value in changes.items():
        setattr(check, name, value)
    # Validators and clean() say what the constraints say; asking the database would be a query for each.
    check.full_clean(exclude={"host"}, validate_unique=False, validate_constraints=False)


SECTION = HostSection(
    name=NAME,
    model=HealthCheck,
    defaults={name: _column(name).get_default() for name in FIELDS},
    apply=apply_health_check,
    serializer="healthchecks.api.serializers.HealthCheckSerializer",
    inline="healthchecks.admin.HealthCheckInline",
    pages="healthchecks.history_admin.pages",
)
