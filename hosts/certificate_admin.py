"""The page "Client certificate" of a host: issue and install in one step, or ask another CA and install its answer.

Laws of this module: looking is a GET by who may view the host; everything else is a POST with a CSRF token by who may
change it, and issuing takes that permission besides. No page has a private key.
"""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action, display
from aegis_site.kernel.downloads import attachment
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.throttling import count_test
from hosts.certificate_forms import IssueAndInstallForm, RequestForm, SignedCertificateForm
from hosts.certificate_requests import (
    MAX_PENDING,
    default_common_name,
    delete_certificate_request,
    install_signed_certificate,
    request_certificate,
    rotate_to_signed_certificate,
)
from hosts.models import Host
from hosts.rotation.models import Rotation
from hosts.rotation.selectors import open_rotation
from hosts.services import install_issued_certificate
from hosts.snippets.identity import slug_of
from localca.keys import KeyType
from localca.models import IssuedCertificate
from upstream_tls.models import CertificateRequest
from upstream_tls.panels import certificates_panel

ISSUE_PERMISSION = "localca.add_issuedcertificate"
# RFC 5967 section 2.
_REQUEST_MEDIA_TYPE = "application/pkcs10"


class ClientCertificateAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    @display(description="Presented to upstreams")
    def client_identity(self, host: Host) -> SafeString:
        """For the editor. No query."""
        configuration = host.upstream_configuration
        leaf = next(iter(configuration.client_certificate_facts), None)
        context = {
            "host": host,
            "leaf": leaf,
            "is_enabled": configuration.enabled,
            "days_left": (leaf.not_after - timezone.now()).days if leaf else None,
        }
        return render_to_string("hosts/client_identity_panel.html", context)

    @display(description="Certificate requests")
    def certificate_requests(self, host: Host) -> SafeString:
        """For the editor. Two queries."""
        context = {"host": host, "pending": _pending(host), "open": open_rotation(host.pk)}
        return render_to_string("hosts/certificate_requests_panel.html", context)

    def get_urls(self) -> list[URLPattern]:
        below = "<uuid:host_id>/certificate-requests/<uuid:request_id>/"
        return [
            path(below, self.admin_site.admin_view(self.request_view), name="hosts_certificate_request"),
            path(
                f"{below}delete/",
                self.admin_site.admin_view(self.delete_request_view),
                name="hosts_certificate_request_delete",
            ),
            *super().get_urls(),
        ]

    @action(description="Client certificate", permissions=["view"], icon="badge", url_path="client-certificate")
    def client_certificate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page; a POST issues and installs, or makes a request and shows that."""
        host = self.get_object(request, object_id)
        if host is None:
            raise Http404("no such host")
        is_issuing, is_requesting = (request.method == "POST" and name in request.POST for name in ("issue", "ask"))
        issue_form = IssueAndInstallForm(request.POST if is_issuing else None)
        initial = {"common_name": default_common_name(host)}
        request_form = RequestForm(request.POST if is_requesting else None, initial=initial)
        if request.method == "POST" and not self.has_change_permission(request, host):
            raise PermissionDenied
        done = None
        if is_issuing:
            done = self._issue_and_install(request, host, issue_form)
        elif is_requesting:
            done = self._make_request(request, host, request_form)
        return done or self._certificate_page(request, host, issue_form, request_form)

    @method_decorator(sensitive_post_parameters("certificate"))
    def request_view(self, request: HttpRequest, host_id: str, request_id: str) -> HttpResponse:
        """The signing request, with `?file=csr` as a file; a POST installs what was signed for it."""
        host, waiting = self._found(request, host_id, request_id)
        if "file" in request.GET:
            return attachment(waiting.csr, media_type=_REQUEST_MEDIA_TYPE, file_name=f"{slug_of(host)}.csr")
        may_change = self.has_change_permission(request, host)
        form = SignedCertificateForm(initial={"in_steps": host.upstream_configuration.enabled})
        if request.method == "POST":
            if not may_change:
                raise PermissionDenied
            form = SignedCertificateForm(request.POST, request.FILES)
            if done := self._install(request, host, waiting, form):
                return done
        context = {
            **self._page_context(request, host, f"Certificate request of {host}"),
            "waiting": waiting,
            "tried_by": _tried_by(host, waiting),
            "form": form,
            "file_name": f"{slug_of(host)}.csr",
            "may_change": may_change,
        }
        return TemplateResponse(request, "hosts/certificate_request.html", context)

    def delete_request_view(self, request: HttpRequest, host_id: str, request_id: str) -> HttpResponse:
        """Asks; a POST deletes."""
        host, waiting = self._found(request, host_id, request_id)
        if not self.has_change_permission(request, host):
            raise PermissionDenied
        if request.method == "POST":
            try:
                delete_certificate_request(request=waiting, user=request.user)
            except AegisError as error:
                self.message_user(request, error.message, messages.ERROR)
                return HttpResponseRedirect(reverse("admin:hosts_certificate_request", args=[host.pk, waiting.pk]))
            self.message_user(request, f"Deleted the request for {waiting.subject} and its key.", messages.SUCCESS)
            return HttpResponseRedirect(_page_of(host))
        context = {**self._page_context(request, host, "Delete this certificate request?"), "waiting": waiting}
        return TemplateResponse(request, "hosts/certificate_request_delete.html", context)

    def _found(self, request: HttpRequest, host_id: str, request_id: str) -> tuple[Host, CertificateRequest]:
        host = self.get_object(request, host_id)
        if not self.has_view_permission(request, host):
            raise PermissionDenied
        if host is None:
            raise Http404("no such host")
        return host, get_object_or_404(CertificateRequest.objects.defer("key"), pk=request_id, host=host)

    def _issue_and_install(self, request: HttpRequest, host: Host, form: IssueAndInstallForm) -> HttpResponse | None:
        if not request.user.has_perm(ISSUE_PERMISSION):
            raise PermissionDenied

        def issue() -> HttpResponse:
            record = install_issued_certificate(
                host=host,
                user=request.user,
                key_type=KeyType(form.cleaned_data["key_type"]),
                validity_days=form.cleaned_data["validity_days"],
            )
            self.message_user(request, issued_message(record), messages.SUCCESS)
            return HttpResponseRedirect(_editor_of(host))

        return _tried(form, issue)

    def _make_request(self, request: HttpRequest, host: Host, form: RequestForm) -> HttpResponse | None:
        def ask() -> HttpResponse:
            made = request_certificate(host=host, wish=form.wish(), user=request.user)
            text = "The key is made. Have this request signed, then install the certificate here."
            self.message_user(request, text, messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:hosts_certificate_request", args=[host.pk, made.pk]))

        return _tried(form, ask)

    def _install(
        self, request: HttpRequest, host: Host, waiting: CertificateRequest, form: SignedCertificateForm
    ) -> HttpResponse | None:
        def install() -> HttpResponse:
            if form.cleaned_data["in_steps"]:
                count_test(request.user.pk)
                chain_pem = form.chain_pem()
                rotation = rotate_to_signed_certificate(request=waiting, chain_pem=chain_pem, user=request.user)
                return HttpResponseRedirect(reverse("admin:hosts_rotation", args=[host.pk, rotation.pk]))
            notices = install_signed_certificate(request=waiting, chain_pem=form.chain_pem(), user=request.user)
            for notice in notices:
                self.message_user(request, notice, messages.INFO)
            self.message_user(request, "Installed the certificate; mTLS is enabled.", messages.SUCCESS)
            return HttpResponseRedirect(_editor_of(host))

        return _tried(form, install)

    def _certificate_page(
        self, request: HttpRequest, host: Host, issue_form: IssueAndInstallForm, request_form: RequestForm
    ) -> HttpResponse:
        facts = host.upstream_configuration.client_certificate_facts
        may_change = self.has_change_permission(request, host)
        pending = _pending(host)
        context = {
            **self._page_context(request, host, f"Client certificate of {host}"),
            "certificate": certificates_panel(facts, now=timezone.now()),
            "pending": pending,
            "open": open_rotation(host.pk),
            "max_pending": MAX_PENDING,
            "is_full": len(pending) >= MAX_PENDING,
            "issue_form": issue_form,
            "request_form": request_form,
            "may_issue": may_change and request.user.has_perm(ISSUE_PERMISSION),
            "may_change": may_change,
        }
        return TemplateResponse(request, "hosts/client_certificate.html", context)

    def _page_context(self, request: HttpRequest, host: Host, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "original": host, "title": title}


def issued_message(record: IssuedCertificate) -> SafeString:
    """What an operator has to know after a certificate was issued and installed."""
    return format_html(
        "Issued the client certificate {} and installed it; mTLS is enabled. The upstream must trust the local CA: "
        'give it the trust bundle from <a href="{}" class="underline">Settings</a>.',
        record.subject,
        reverse("admin:aegis_settings"),
    )


def _tried(form: forms.Form, act: Callable[[], HttpResponse]) -> HttpResponse | None:
    """What `act` answers; None when the form has errors, those of `act` included."""
    if not form.is_valid():
        return None
    try:
        return act()
    except ValidationError as error:
        form.add_error(None, error)
    except AegisError as error:
        form.add_error(None, error.message)
    return None


def _tried_by(host: Host, waiting: CertificateRequest) -> Rotation | None:
    """The open rotation that has the key of this request."""
    found = open_rotation(host.pk)
    return found if found is not None and found.certificate_request_id == waiting.pk else None


def _pending(host: Host) -> list[CertificateRequest]:
    return list(CertificateRequest.objects.filter(host=host).defer("key"))


def _editor_of(host: Host) -> str:
    return reverse("admin:hosts_host_change", args=[host.pk])


def _page_of(host: Host) -> str:
    return reverse("admin:hosts_host_client_certificate", args=[host.pk])
