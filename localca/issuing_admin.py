"""The admin pages that issue, renew and revoke.

Laws of this module: a GET changes nothing. A new private key is the answer to the POST that had it made, as a download
that no cache may keep; nobody can have it again.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action
from aegis_site.kernel.downloads import attachment
from aegis_site.kernel.errors import AegisError
from localca.bundle import CERTIFICATE_MEDIA_TYPE, file_stem, pair_zip
from localca.forms import PKCS12, IssueForm, KeyFields, RenewForm, RevokeForm
from localca.keys import key_to_pkcs12
from localca.models import IssuedCertificate, RevocationReason, Status
from localca.revocation import revoke_certificate
from localca.services import IssuedBundle, issue_certificate, renew_certificate


class IssuingAdmin(ModelAdmin):
    """To be mixed into the admin of issued certificates."""

    actions_detail = ["renew", "revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_issue_permission(request)

    # Of permissions that actions name with a dot, unfold's checks look into the database, before there are tables.
    def has_issue_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("localca.add_issuedcertificate")

    def has_revoke_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("localca.change_issuedcertificate")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Without what this certificate does not admit any more."""
        certificate = self.get_object(request, object_id)
        hidden = set()
        if certificate is None or certificate.status != Status.VALID:
            hidden.add("revoke")
        if certificate is None or certificate.status == Status.REVOKED or certificate.successor:
            hidden.add("renew")
        actions = super().get_actions_detail(request, object_id)
        return [item for item in actions if item.action_name.rpartition("_")[2] not in hidden]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form; a POST answers with the download."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = IssueForm(request.POST or None)
        return self._page(
            request,
            form,
            issue=lambda: issue_certificate(order=form.order(), user=request.user),
            title="Issue certificate",
        )

    @action(description="Renew", permissions=["issue"], icon="autorenew", url_path="renew")
    def renew(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form for the successor; a POST answers with the download."""
        certificate = self._certificate(request, object_id)
        form = RenewForm(request.POST or None)
        if not self.has_revoke_permission(request):
            del form.fields["revoke_old"]

        def renewed() -> IssuedBundle:
            values = form.cleaned_data
            return renew_certificate(
                certificate=certificate,
                csr=values["csr"],
                revoke_old=values.get("revoke_old", False),
                user=request.user,
            )

        return self._page(request, form, issue=renewed, title=f"Renew {certificate.subject}", original=certificate)

    @action(
        description="Revoke",
        permissions=["revoke"],
        icon="block",
        url_path="revoke",
        dialog={
            "title": "Revoke this certificate?",
            "description": "This cannot be undone. Servers refuse it as soon as they have the new revocation list.",
            "form_class": RevokeForm,
            "form_submit_text": "Revoke",
        },
    )
    def revoke(self, request: HttpRequest, form: RevokeForm, object_id: str) -> HttpResponse:
        """A POST from the dialog; htmx follows HX-Redirect."""
        certificate = self._certificate(request, object_id)
        try:
            reason = RevocationReason(form.cleaned_data["reason"])
            revoke_certificate(certificate=certificate, reason=reason, user=request.user)
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, f"Revoked {certificate.subject}.", messages.SUCCESS)
        page = reverse("admin:localca_issuedcertificate_change", args=[certificate.pk])
        return HttpResponse(headers={"HX-Redirect": page})

    def _page(
        self,
        request: HttpRequest,
        form: KeyFields,
        *,
        issue: Callable[[], IssuedBundle],
        title: str,
        original: IssuedCertificate | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and form.is_valid():
            try:
                return _download(issue(), form)
            except ValidationError as error:
                form.add_error(None, error)
            except AegisError as error:
                form.add_error(None, error.message)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": original,
            "title": title,
            "form": form,
        }
        return TemplateResponse(request, "localca/issue.html", context)

    def _certificate(self, request: HttpRequest, object_id: str) -> IssuedCertificate:
        certificate = self.get_object(request, object_id)
        if certificate is None:
            raise Http404("no such certificate")
        found: IssuedCertificate = certificate
        return found


def _download(bundle: IssuedBundle, form: KeyFields) -> HttpResponse:
    """Certificate and key as asked for; the certificate alone when it answers a signing request."""
    stem = file_stem(bundle.record)
    passphrase = form.cleaned_data["passphrase"].encode()
    if bundle.key is None:
        response = attachment(bundle.chain_pem, media_type=CERTIFICATE_MEDIA_TYPE, file_name=f"{stem}.crt")
    elif form.cleaned_data["form"] == PKCS12:
        issuers = [authority.certificate for authority in bundle.record.authority.path]
        certificate = bundle.record.certificate
        content = key_to_pkcs12(bundle.key, certificate=certificate, issuers=issuers, passphrase=passphrase)
        response = attachment(content, media_type="application/x-pkcs12", file_name=f"{stem}.p12")
    else:
        content = pair_zip(bundle, passphrase=passphrase)
        response = attachment(content, media_type="application/zip", file_name=f"{stem}.zip")
    response["Cache-Control"] = "no-store"
    return response
