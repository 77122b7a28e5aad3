"""The health check as a part of the host editor.

Laws of this module: as in `hosts.admin`. A new host whose check nobody touched gets none, which means the defaults.
"""

from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import StackedInline

import healthchecks.failures.admin  # noqa: F401 (registers on import)
from aegis_site.kernel.admin import display, shown_once
from healthchecks.forms import HealthCheckForm, HealthCheckFormSet
from healthchecks.history import Range
from healthchecks.history_admin import history_section
from healthchecks.models import HealthCheck
from healthchecks.section import SECTION
from hosts.models import Host
from hosts.part_of_host import PartOfHost


class HealthCheckInline(PartOfHost, StackedInline):
    """One check for all upstreams of the host, and how they stand by it."""

    class Media:
        css = {"all": ["healthchecks/history.css"]}
        js = ["healthchecks/history.js"]

    model = HealthCheck
    form = HealthCheckForm
    formset = HealthCheckFormSet
    min_num = 1
    max_num = 1
    can_delete = False
    hide_title = True
    verbose_name_plural = "Health check"
    readonly_fields = ["history"]
    fields: ClassVar[list[Any]] = [
        "enabled",
        ("kind", "method"),
        "path",
        "host_field",
        ("expected_status", "body_contains"),
        "headers",
        ("interval_s", "timeout_s"),
        ("healthy_after", "unhealthy_after"),
    ]

    def get_fields(self, request: HttpRequest, obj: Host | None = None) -> list[Any]:
        """A host that is not stored, or was never to be checked, has no history."""
        is_stored = obj is not None and hasattr(obj, SECTION.name)
        return ["history", *self.fields] if is_stored else list(self.fields)

    @display(description="Health")
    @shown_once
    def history(self, check: HealthCheck) -> SafeString:
        return history_section(check.host, range_=Range.DAY, page=None, now=timezone.now())

    def has_delete_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        return False

    def get_extra(self, request: HttpRequest, obj: Host | None = None, **kwargs: Any) -> int:
        return 0
