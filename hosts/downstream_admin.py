"""HTTPS towards clients in the host editor: the section, and issuing a certificate from the local CA.

Laws of this module: as in `hosts.admin`.
"""

from django.contrib import messages
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action, display, shown_once
from aegis_site.kernel.errors import AegisError
from hosts.downstream_lint import lint_downstream
from hosts.downstream_tls import issue_certificate
from hosts.forms import HostForm
from hosts.models import Host
from upstream_tls.panels import certificates_panel

ISSUE_SERVER_ACTION = "hosts_host_save_and_issue_server"

HTTPS_FIELDS = [
    "https_certificate",
    "https_certificate_file",
    "https_certificate_facts",
    "https_key",
    "https_key_file",
    "kept_https_key",
    "https_key_passphrase",
    "force_https",
    "hsts_max_age_s",
]


class DownstreamTLSAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    def https_fields(self, host: Host | None) -> list[str]:
        """Those that make sense: facts only of what is stored."""
        has_certificate = host is not None and host.downstream_configuration.certificate
        return [name for name in HTTPS_FIELDS if has_certificate or name != "https_certificate_facts"]

    @display(description="Stored certificate")
    @shown_once
    def https_certificate_facts(self, host: Host) -> SafeString:
        configuration, now = host.downstream_configuration, timezone.now()
        domains = [domain.name for domain in host.domains.all()]
        warnings = lint_downstream(configuration.chain, domains=domains, now=now)
        return certificates_panel(configuration.certificate_facts, now=now, warnings=warnings)

    def has_issue_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Issuing changes the host after it is saved, so it needs that permission for a new host as well."""
        return request.user.has_perm("localca.add_issuedcertificate") and self.has_change_permission(request)

    def is_issuing_server(self, request: HttpRequest) -> bool:
        """Whether this is a POST of the button, by somebody who may press it."""
        return ISSUE_SERVER_ACTION in request.POST and self.has_issue_permission(request)

    def save_downstream(self, request: HttpRequest, host: Host, form: HostForm) -> None:
        """Save what the form has, after the host. A certificate is issued first: Force HTTPS is not saved without."""
        form.downstream.host = host  # again: Django's formsets give a new object another primary key
        if form.is_issuing_server and not self._issue_server(request, host, form):
            return
        form.downstream.save()

    def _issue_server(self, request: HttpRequest, host: Host, form: HostForm) -> bool:
        try:
            domains = form.cleaned_data["domains"]
            record = issue_certificate(form.downstream, host=host, domains=domains, user=request.user)
        except AegisError as error:
            text = f"The host is saved but for its HTTPS settings; no certificate was issued: {error.message}."
            self.message_user(request, text, messages.ERROR)
            return False
        text = "Issued the server certificate {} and installed it. Clients that trust the local CA accept it."
        self.message_user(request, format_html(text, record.subject), messages.SUCCESS)
        return True

    @action(description="Save and issue server certificate", permissions=["issue"], icon="lock")
    def save_and_issue_server(self, request: HttpRequest, obj: Host) -> None:
        """The button; `save_downstream` does it, inside the POST of the form."""
