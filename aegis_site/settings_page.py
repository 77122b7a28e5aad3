"""The Settings page of the admin: what this installation is made of, and the form of what can be set.

Laws of this module: who may not view the site settings sees none of them, who may not change them cannot send a test
mail either; both buttons are POSTs with a CSRF token.
"""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.secrets import count_secrets
from aegis_site.kernel.site_settings.services import change_settings, send_test_mail
from aegis_site.kernel.site_settings.smtp import Delivery, Stage
from aegis_site.settings_form import SettingsForm
from localca.models import CertificateAuthority
from localca.selectors import trust_anchors

SECRET_PARAMETERS = ("smtp_password", "kept_smtp_password", "smtp_ca_certificate")

VIEW, CHANGE = "site_settings.view_sitesettings", "site_settings.change_sitesettings"

_STAGES = {
    Stage.DNS: "looking up the server",
    Stage.CONNECT: "connecting",
    Stage.TLS: "the TLS handshake",
    Stage.AUTH: "signing in",
    Stage.SEND: "handing over the mail",
}


def settings_page(request: HttpRequest, site_context: dict[str, Any]) -> HttpResponse:
    """Shows the page, saves its form, or sends a test mail by the values of the form."""
    may_change = request.user.has_perms([VIEW, CHANGE])
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    form, delivery = None, None
    if may_change or request.user.has_perm(VIEW):
        data = request.POST if request.method == "POST" else None
        form = SettingsForm(data, user=request.user, may_change=may_change)
    if form is not None and form.is_bound and form.is_valid():
        if "test_mail" not in request.POST:
            change_settings(values=form.values, user=request.user)
            messages.success(request, "The settings are saved.")
            return HttpResponseRedirect(reverse("admin:aegis_settings"))
        delivery = _test_mail(form)
    context = {
        **site_context,
        "title": "Settings",
        "form": form,
        "may_change": may_change,
        # The result stands far below the top of the page.
        "test_button": {"formaction": reverse("admin:aegis_settings") + "#test-mail"},
        "is_test_refused": "test_mail" in request.POST and delivery is None,
        "delivery": delivery,
        "failed_at": _STAGES[delivery.stage] if delivery is not None and not delivery.success else "",
        **_facts(request),
    }
    return TemplateResponse(request, "aegis_site/settings.html", context)


def _test_mail(form: SettingsForm) -> Delivery | None:
    """What became of it; None when it could not be tried, and the form says why."""
    try:
        return send_test_mail(form.candidate, to=form.cleaned_data["test_to"])
    except ValidationError as error:
        for name, problems in error.error_dict.items():
            form.add_error("test_to" if name == "to" else name, problems)
    except AegisError as error:
        form.add_error(None, error.message)
    return None


def _facts(request: HttpRequest) -> dict[str, Any]:
    may_see_authority = request.user.has_perm("localca.view_certificateauthority")
    anchors = trust_anchors() if may_see_authority else ()
    return {
        "may_see_authority": may_see_authority,
        "authority_facts": {"rows": [row for anchor in anchors for row in _facts_of(anchor)]} if anchors else None,
        "secret_count": count_secrets(),
        "has_previous_keys": bool(settings.AEGIS_SSL_KEY_PREVIOUS),
        "listeners": {"headers": ["Listener", "Address", "Variable"], "rows": _listeners()},
        "mode": "embedded" if settings.AEGIS_IS_EMBEDDED else "production",
        "data_dir": settings.AEGIS_DATA_DIR if settings.AEGIS_IS_EMBEDDED else None,
    }


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
