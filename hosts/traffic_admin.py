"""Traffic in the host editor: its sections, and what fails there.

Laws of this module: as in `hosts.admin`.
"""

from collections.abc import Container
from typing import Any, TypeAlias

from django.contrib.admin.utils import flatten
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import display, shown_once
from hosts.connection_test_panel import ago
from hosts.models import Host
from hosts.traffic_forms import TrafficFields
from hosts.upstream_failures import failures_of
from upstream_tls.tls.meanings import meaning_of

Fieldset: TypeAlias = tuple[str | None, dict[str, Any]]

# How many upstreams the list names before it counts the rest.
LISTED_UPSTREAMS = 2

# A page of a hundred upstreams and several workers would hide what is new.
SHOWN_FAILURES = 20

TRAFFIC_FIELDS = [
    "access_log",
    "max_body_bytes",
    ("connect_s", "tls_s"),
    ("response_head_s", "body_stall_s"),
    ("idle_s", "tunnel_idle_s"),
    ("tunnel_lifetime_s", "tunnel_drain_s"),
    "max_attempts",
    ("budget_percent", "budget_min_per_s"),
    "max_failures",
    ("backoff_s", "backoff_max_s"),
]
HEADER_FIELDS = ["request_headers", "response_headers"]


class TrafficAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    @display(description="Upstreams")
    def upstream_summary(self, host: Host) -> str:
        enabled = [str(upstream) for upstream in host.upstreams.all() if upstream.enabled]
        listed = ", ".join(enabled[:LISTED_UPSTREAMS])
        hidden_count = len(enabled) - LISTED_UPSTREAMS
        return f"{listed} and {hidden_count} more" if hidden_count > 0 else listed

    @display(description="Last failures")
    @shown_once
    def upstream_failures(self, host: Host) -> SafeString:
        return _failures_panel(host, has_test=True)

    @display(description="Last failures")
    @shown_once
    def upstream_failures_only(self, host: Host) -> SafeString:
        """For who may not test."""
        return _failures_panel(host, has_test=False)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        form = context["adminform"]
        form.fieldsets = [_opened(fieldset, form.form.errors) for fieldset in form.fieldsets]
        return super().render_change_form(request, context, *args, **kwargs)

    def save_traffic(self, host: Host, form: TrafficFields) -> None:
        """Save what the form has, after the host."""
        form.traffic.host = host  # again: Django's formsets give a new object another primary key
        form.traffic.save()


def _failures_panel(host: Host, *, has_test: bool) -> SafeString:
    now = timezone.now()
    views = [
        {"failure": failure, "meaning": meaning_of(failure.code), "age": ago(failure.at, now=now)}
        for failure in failures_of(host.pk)[:SHOWN_FAILURES]
    ]
    return render_to_string("hosts/upstream_failures.html", {"views": views, "has_test": has_test, "host": host})


def _opened(fieldset: Fieldset, errors: Container[str]) -> Fieldset:
    """Without its fold when an error is in it. Django looks for that only at fields that have a line of their own."""
    name, options = fieldset
    if not any(field in errors for field in flatten(options["fields"])):
        return fieldset
    return name, {**options, "classes": [kind for kind in options.get("classes", ()) if kind != "collapse"]}
