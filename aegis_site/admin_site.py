"""The admin site: the product's face. Pages of a model belong to its app; here is what concerns the whole."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse_lazy
from unfold.sites import UnfoldAdminSite

from aegis_site.kernel.secrets import count_secrets
from localca.models import CertificateAuthority
from localca.selectors import active_authority


class AegisAdminSite(UnfoldAdminSite):
    """unfold's site with Aegis's Settings page."""

    enable_nav_sidebar = True

    def extra_urls(self) -> list[URLPattern]:
        return [path("settings/", self.admin_view(self.settings_view), name="aegis_settings")]

    def settings_view(self, request: HttpRequest) -> HttpResponse:
        """What this installation is made of, and the downloads that belong to it. Changes nothing."""
        may_see_authority = request.user.has_perm("localca.view_certificateauthority")
        authority = active_authority() if may_see_authority else None
        context = {
            **self.each_context(request),
            "title": "Settings",
            "may_see_authority": may_see_authority,
            "authority_facts": {"rows": _facts_of(authority)} if authority else None,
            "secret_count": count_secrets(),
            "has_previous_keys": bool(settings.AEGIS_SSL_KEY_PREVIOUS),
            "listeners": {"headers": ["Listener", "Address", "Variable"], "rows": _listeners()},
            "mode": "embedded" if settings.AEGIS_IS_EMBEDDED else "production",
            "data_dir": settings.AEGIS_DATA_DIR if settings.AEGIS_IS_EMBEDDED else None,
        }
        return TemplateResponse(request, "aegis_site/settings.html", context)


def _facts_of(authority: CertificateAuthority) -> list[list[str]]:
    facts = authority.facts
    return [
        ["Subject", facts.subject],
        ["Valid", f"{facts.not_before:%Y-%m-%d} to {facts.not_after:%Y-%m-%d}"],
        ["SHA-256 fingerprint", facts.fingerprint_sha256],
    ]


def _listeners() -> list[list[str]]:
    return [
        ["Admin and API", settings.AEGIS_WEB_BIND, "AEGIS_WEB_BIND"],
        ["Traffic, HTTP", ", ".join(settings.AEGIS_PROXY_HTTP) or "off", "AEGIS_PROXY_HTTP"],
        ["Traffic, HTTPS", ", ".join(settings.AEGIS_PROXY_HTTPS) or "off", "AEGIS_PROXY_HTTPS"],
        ["Proxy metrics and health", settings.AEGIS_PROXY_METRICS, "AEGIS_PROXY_METRICS"],
    ]


def stylesheet(request: HttpRequest) -> str:
    """What Aegis changes of unfold's looks, on every page."""
    return static("aegis_site/admin.css")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: what the signed-in user may see, in the order in which it is used."""

    def item(title: str, icon: str, url_name: str, permission: str = "") -> dict[str, Any]:
        return {
            "title": title,
            "icon": icon,
            "link": reverse_lazy(f"admin:{url_name}"),
            "permission": lambda request: not permission or request.user.has_perm(permission),
        }

    return [
        {
            "title": "Proxy",
            "items": [
                item("Hosts", "dns", "hosts_host_changelist", "hosts.view_host"),
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
            "title": "Administration",
            "items": [
                item("Settings", "settings", "aegis_settings"),
                item("Users", "person", "auth_user_changelist", "auth.view_user"),
                item("Groups", "group", "auth_group_changelist", "auth.view_group"),
            ],
        },
    ]
