"""The admin site: the product's face. Pages of a model belong to its app; here is what concerns the whole."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse_lazy
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.sites import UnfoldAdminSite

from aegis_site.access.roles import has_any_permission
from aegis_site.kernel.notifications.selectors import undelivered
from aegis_site.settings_page import SECRET_PARAMETERS, settings_page
from healthchecks.failures.selectors import open_count

FAILURES = "healthchecks.view_failuregroup"


class AegisAdminSite(UnfoldAdminSite):
    """unfold's site with Aegis's Settings page."""

    enable_nav_sidebar = True

    def extra_urls(self) -> list[URLPattern]:
        return [path("settings/", self.admin_view(self.settings_view), name="aegis_settings")]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The first page; who may not see anything is told why."""
        if not has_any_permission(request.user):
            context = {**self.each_context(request), "title": "No role", **(extra_context or {})}
            return TemplateResponse(request, "access/no_role.html", context)
        response: HttpResponse = super().index(request, extra_context)
        return response

    @method_decorator(sensitive_post_parameters(*SECRET_PARAMETERS))
    def settings_view(self, request: HttpRequest) -> HttpResponse:
        """What this installation is made of, and what can be set."""
        return settings_page(request, self.each_context(request))


def stylesheet(request: HttpRequest) -> str:
    """What Aegis changes of unfold's looks, on every page."""
    return static("aegis_site/admin.css")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: what the signed-in user may see, in the order in which it is used."""

    def item(title: str, icon: str, url_name: str, permission: str = "") -> dict[str, Any]:
        return {
            "title": title,
            "icon": icon,
            "link": reverse_lazy(url_name if url_name.startswith("api-") else f"admin:{url_name}"),
            "permission": lambda request: not permission or request.user.has_perm(permission),
        }

    return [
        {
            "title": "Proxy",
            "items": [
                {**item("Hosts", "dns", "hosts_host_changelist", "hosts.view_host"), "active": _is_about_hosts},
                item("Posture", "policy", "hosts_posture", "hosts.view_host"),
                item("Expiry", "event_upcoming", "hosts_expiry", "hosts.view_host"),
                item("What if", "science", "hosts_what_if", "hosts.change_host"),
                {
                    **item("Failures", "report", "healthchecks_failuregroup_changelist", FAILURES),
                    "badge": _badge(request, FAILURES, open_count),
                },
                item("Workers", "memory", "hosts_proxyworker_changelist", "hosts.view_proxyworker"),
            ],
        },
        {
            "title": "Certificates",
            "items": [
                item(
                    "Local CA",
                    "verified_user",
                    "localca_certificateauthority_changelist",
                    "localca.view_certificateauthority",
                ),
                item(
                    "Issued certificates",
                    "badge",
                    "localca_issuedcertificate_changelist",
                    "localca.view_issuedcertificate",
                ),
            ],
        },
        {
            "title": "Notifications",
            "items": [
                item("Channels", "campaign", "notifications_channel_changelist", "notifications.view_channel"),
                {
                    **item("Messages", "outbox", "notifications_delivery_changelist", "notifications.view_delivery"),
                    "badge": _badge(request, "notifications.view_delivery", undelivered),
                    "badge_variant": "danger",
                },
                item(
                    "Maintenance",
                    "engineering",
                    "notifications_maintenancewindow_changelist",
                    "notifications.view_maintenancewindow",
                ),
                item("Events", "event_note", "notifications_notedevent_changelist", "notifications.view_notedevent"),
            ],
        },
        {
            "title": "Administration",
            "items": [
                item("Settings", "settings", "aegis_settings"),
                item("API tokens", "key", "access_apitoken_changelist", "access.view_apitoken"),
                item("Users", "person", "auth_user_changelist", "auth.view_user"),
                item("Groups", "group", "auth_group_changelist", "auth.view_group"),
                item("Audit", "history", "audit_auditentry_changelist", "audit.view_auditentry"),
                item("API", "api", "api-root"),
            ],
        },
    ]


def _badge(request: HttpRequest, permission: str, count: Callable[..., int]) -> int:
    """So many, for who may see them; none are not shown. One query."""
    return count(now=timezone.now()) if request.user.has_perm(permission) else 0


def _is_about_hosts(request: HttpRequest) -> bool:
    """The pages over all hosts are below the list's path, and have items of their own."""
    match = request.resolver_match
    return match is not None and (match.url_name or "").startswith("hosts_host_")
