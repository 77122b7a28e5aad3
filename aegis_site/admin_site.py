"""The admin site: the product's face. Pages of a model belong to its app; here is what concerns the whole."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from unfold.sites import UnfoldAdminSite

from aegis_site.access import account_pages
from aegis_site.access.roles import has_any_permission
from aegis_site.access.sign_in import CodeStep, sign_in_page
from aegis_site.dashboard.pages import dashboard, live_part, put_steps_away
from aegis_site.kernel.notifications.selectors import undelivered
from aegis_site.settings_page import SECRET_PARAMETERS, settings_page
from healthchecks.failures.selectors import open_count

FAILURES = "healthchecks.view_failuregroup"


class AegisAdminSite(UnfoldAdminSite):
    """unfold's site with Aegis's dashboard and Settings page."""

    enable_nav_sidebar = True

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("settings/", self.admin_view(self.settings_view), name="aegis_settings"),
            path("dashboard/live/", self.admin_view(live_part), name="aegis_dashboard_live"),
            path("dashboard/first-steps/", self.admin_view(put_steps_away), name="aegis_first_steps"),
            path("login/code/", self.sign_in_code, name="aegis_sign_in_code"),
            path("two-factor/", self.admin_view(self.two_factor_view), name="aegis_two_factor"),
            path("sessions/", self.admin_view(self.sessions_view), name="aegis_sessions"),
            path("sessions/all/", self.admin_view(self.all_sessions_view), name="aegis_all_sessions"),
            path("sign-in-locks/", self.admin_view(self.locks_view), name="aegis_sign_in_locks"),
        ]

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The first step of a sign-in. Whoever is signed in is led to the first page, as by Django's own."""
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        context = {
            **self.each_context(request),
            "title": "Log in",
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        request.current_app = self.name
        return sign_in_page(request, self.login_form, context)

    def sign_in_code(self, request: HttpRequest) -> HttpResponseBase:
        """The second step, for whoever has a second factor."""
        context = {**self.each_context(request), "title": "Two-factor sign-in"}
        return CodeStep.as_view(extra_context=context)(request)

    @method_decorator(sensitive_post_parameters(*account_pages.SECRET_PARAMETERS))
    def two_factor_view(self, request: HttpRequest) -> HttpResponse:
        """The user's own second factor."""
        return account_pages.two_factor_page(request, self.each_context(request))

    def sessions_view(self, request: HttpRequest) -> HttpResponse:
        """Where the user is signed in."""
        return account_pages.sessions_page(request, self.each_context(request))

    def all_sessions_view(self, request: HttpRequest) -> HttpResponse:
        """Where everybody is signed in."""
        return account_pages.all_sessions_page(request, self.each_context(request))

    def locks_view(self, request: HttpRequest) -> HttpResponse:
        """Which sign-ins are locked."""
        return account_pages.locks_page(request, self.each_context(request))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The first page; who may not see anything is told why."""
        if not has_any_permission(request.user):
            context = {**self.each_context(request), "title": "No role", **(extra_context or {})}
            return TemplateResponse(request, "access/no_role.html", context)
        return dashboard(request, {**self.each_context(request), **(extra_context or {})})

    @method_decorator(sensitive_post_parameters(*SECRET_PARAMETERS))
    def settings_view(self, request: HttpRequest) -> HttpResponse:
        """What this installation is made of, and what can be set."""
        return settings_page(request, self.each_context(request))


def stylesheet(request: HttpRequest) -> str:
    """What Aegis changes of unfold's looks, on every page."""
    return static("aegis_site/admin.css")


def account_links(request: HttpRequest) -> list[dict[str, Any]]:
    """The menu at the user's name."""
    links = [
        ("Two-factor sign-in", "aegis_two_factor"),
        ("Your sessions", "aegis_sessions"),
        ("Change password", "password_change"),
    ]
    return [{"title": title, "link": reverse_lazy(f"admin:{name}")} for title, name in links]


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
                item("Dashboard", "dashboard", "index"),
                {**item("Hosts", "dns", "hosts_host_changelist", "hosts.view_host"), "active": _is_about_hosts},
                item("Posture", "policy", "hosts_posture", "hosts.view_host"),
                item("Expiry", "event_upcoming", "hosts_expiry", "hosts.view_host"),
                item("What if", "science", "hosts_what_if", "hosts.change_host"),
                {
                    **item("Failures", "report", "healthchecks_failuregroup_changelist", FAILURES),
                    "badge": _badge(request, FAILURES, open_count),
                },
                item("Logs", "receipt_long", "hosts_logs", "logs.view_log"),
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
                item("Sessions", "devices", "aegis_all_sessions", "auth.view_user"),
                item("Locked sign-ins", "lock", "aegis_sign_in_locks", "auth.view_user"),
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
