"""The health check as a part of the host editor.

Laws of this module: as in `hosts.admin`. A new host whose check nobody touched gets none, which means the defaults.
"""

from typing import Any

from django.http import HttpRequest
from unfold.admin import StackedInline

from healthchecks.forms import HealthCheckForm, HealthCheckFormSet
from healthchecks.models import HealthCheck
from hosts.models import Host
from hosts.part_of_host import PartOfHost


class HealthCheckInline(PartOfHost, StackedInline):
    """One check for all upstreams of the host."""

    model = HealthCheck
    form = HealthCheckForm
    formset = HealthCheckFormSet
    min_num = 1
    max_num = 1
    can_delete = False
    hide_title = True
    verbose_name_plural = "Health check"
    fields = [
        "enabled",
        ("kind", "method"),
        "path",
        "host_field",
        ("expected_status", "body_contains"),
        "headers",
        ("interval_s", "timeout_s"),
        ("healthy_after", "unhealthy_after"),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        return False

    def get_extra(self, request: HttpRequest, obj: Host | None = None, **kwargs: Any) -> int:
        return 0
