"""Admin pages of the local CA: facts and downloads.

What changes something is in `localca.authority_admin` and `localca.issuing_admin`.
"""

import datetime
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

from aegis_site.kernel.admin import ReadOnlyAdmin, action, display
from aegis_site.kernel.audit.audited_admin import AuditedAdmin
from aegis_site.kernel.downloads import attachment
from aegis_site.kernel.errors import AegisError
from localca.authority_admin import HierarchyAdmin
from localca.bundle import (
    BUNDLE_FILE,
    CERTIFICATE_FILE,
    CERTIFICATE_MEDIA_TYPE,
    PEM_MEDIA_TYPE,
    AuthorityMissing,
    authority_stem,
    file_stem,
    require_trust_anchors_pem,
    trust_bundle_zip,
)
from localca.issuing_admin import IssuingAdmin
from localca.models import (
    AUTHORITY_TYPE,
    CERTIFICATE_TYPE,
    CertificateAuthority,
    IssuedCertificate,
    IssuedCertificateQuerySet,
    Status,
)
from localca.revocation import current_list, latest_list
from localca.selectors import list_places
from localca.services import delete_certificate, why_needed

EXPIRES_SOON = datetime.timedelta(days=30)
SOON = "soon"


class CertificateAdmin(ReadOnlyAdmin):
    """Rows with a certificate."""

    @display(description="PEM")
    def pem(self, row: CertificateAuthority | IssuedCertificate) -> str:
        """Line by line, so that it can be copied."""
        return format_html('<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', row.certificate_pem)

    @display(description="SHA-256 fingerprint")
    def fingerprint(self, row: CertificateAuthority | IssuedCertificate) -> str:
        """In one word, which a narrow screen may break anywhere."""
        return _breakable(row.facts.fingerprint_sha256)


@admin.register(CertificateAuthority)
class CertificateAuthorityAdmin(AuditedAdmin, HierarchyAdmin, CertificateAdmin):
    """The CAs' public facts, their certificates, and the trust bundle."""

    audit_type = AUTHORITY_TYPE
    list_display = ["name", "role", "state_label", "has_key", "valid_until", "fingerprint"]
    list_display_links = ["name"]
    list_select_related = ["parent"]
    actions_list = ["trust_bundle", *HierarchyAdmin.actions_list]
    actions_detail = ["certificate", "revocation_list", *HierarchyAdmin.actions_detail]
    readonly_fields = [
        "name",
        "role",
        "state",
        "issuer",
        "serial_number",
        "valid_from",
        "valid_until",
        "key",
        "fingerprint",
        "list_number",
        "list_made",
        "list_end",
        "list_place",
        "pem",
    ]
    fieldsets = [
        (
            None,
            {"fields": ["name", "role", "state", "issuer", "serial_number", "valid_from", "valid_until", "created_at"]},
        ),
        ("Key and fingerprint", {"fields": ["key", "key_exported_at", "fingerprint"]}),
        ("Revocation list", {"fields": ["list_number", "list_made", "list_end", "list_place"]}),
        ("Certificate", {"fields": ["pem"]}),
    ]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("trust-bundle.zip", view(self.trust_bundle_view), name="localca_trust_bundle"),
            path(CERTIFICATE_FILE, view(self.ca_certificate_view), name="localca_ca_certificate"),
            *super().get_urls(),
        ]

    def trust_bundle_view(self, request: HttpRequest) -> HttpResponse:
        """Download of the zip for operators of upstreams."""
        self._require_view_permission(request)
        try:
            return attachment(trust_bundle_zip(), media_type="application/zip", file_name=BUNDLE_FILE)
        except AuthorityMissing as error:
            raise Http404(str(error)) from error
        except AegisError as error:
            return self._refused(request, error)

    def ca_certificate_view(self, request: HttpRequest) -> HttpResponse:
        """Download of what peers are to trust: the root, or during a change both."""
        self._require_view_permission(request)
        try:
            certificate_pem = require_trust_anchors_pem()
        except AuthorityMissing as error:
            raise Http404(str(error)) from error
        return attachment(certificate_pem, media_type=CERTIFICATE_MEDIA_TYPE, file_name=CERTIFICATE_FILE)

    @action(description="Download trust bundle", permissions=["view"], icon="download")
    def trust_bundle(self, request: HttpRequest) -> HttpResponse:
        """The same download, as a button above the list."""
        return self.trust_bundle_view(request)

    @action(description="Download certificate", permissions=["view"], icon="download")
    def certificate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """This CA's certificate, active or not."""
        authority = self.get_object(request, object_id)
        if authority is None:
            raise Http404("no such CA")
        file_name = f"{authority_stem(authority)}.crt"
        return attachment(authority.certificate_pem, media_type=CERTIFICATE_MEDIA_TYPE, file_name=file_name)

    @action(description="Download revocation list", permissions=["view"], icon="download")
    def revocation_list(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """This CA's list as PEM."""
        authority = self.get_object(request, object_id)
        if authority is None:
            raise Http404("no such CA")
        try:
            latest = current_list(authority)
        except AegisError as error:
            return self._refused(request, error)
        return attachment(latest.pem, media_type=PEM_MEDIA_TYPE, file_name=f"{authority_stem(authority)}.crl")

    def _refused(self, request: HttpRequest, error: AegisError) -> HttpResponse:
        """An overdue list that the CA cannot replace: back to the CAs, with the reason."""
        self.message_user(request, f"There is no current revocation list: {error.message}.", messages.ERROR)
        return redirect("admin:localca_certificateauthority_changelist")

    def _require_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    @display(description="Name")
    def name(self, authority: CertificateAuthority) -> str:
        return str(authority)

    @display(description="Role")
    def role(self, authority: CertificateAuthority) -> str:
        return "Root" if authority.is_root else "Intermediate"

    @display(
        description="State", label={"Issues": "success", "Trusted": "info", "Retired": "warning", "Revoked": "danger"}
    )
    def state_label(self, authority: CertificateAuthority) -> str:
        return _state_of(authority)

    @display(description="State")
    def state(self, authority: CertificateAuthority) -> str:
        return _state_of(authority)

    @display(description="Key here", boolean=True)
    def has_key(self, authority: CertificateAuthority) -> bool:
        return authority.has_key

    @display(description="Issued by")
    def issuer(self, authority: CertificateAuthority) -> str:
        if authority.parent is None:
            return "itself"
        page = reverse("admin:localca_certificateauthority_change", args=[authority.parent.pk])
        return format_html('<a class="underline" href="{}">{}</a>', page, authority.parent)

    @display(description="Serial number")
    def serial_number(self, authority: CertificateAuthority) -> str:
        return authority.facts.serial_number

    @display(description="Valid from")
    def valid_from(self, authority: CertificateAuthority) -> str:
        return date_format(authority.facts.not_before, "DATETIME_FORMAT")

    @display(description="Valid until")
    def valid_until(self, authority: CertificateAuthority) -> str:
        return date_format(authority.facts.not_after, "DATETIME_FORMAT")

    @display(description="Key")
    def key(self, authority: CertificateAuthority) -> str:
        return f"{authority.facts.key_type}, {'sealed in the database' if authority.has_key else 'not stored here'}"

    @display(description="Number")
    def list_number(self, authority: CertificateAuthority) -> str:
        latest = latest_list(authority)
        if latest is None:
            return "made when it is first asked for" if authority.has_key else _missing_list(authority)
        count = len(latest.revocation_list)
        text = f"{latest.number}, with {count} revoked certificate{'' if count == 1 else 's'}"
        return f"{text}; signed elsewhere and given here" if latest.is_given else text

    @display(description="Made")
    def list_made(self, authority: CertificateAuthority) -> str:
        latest = latest_list(authority)
        return date_format(latest.this_update, "DATETIME_FORMAT") if latest else "-"

    @display(description="Next before")
    def list_end(self, authority: CertificateAuthority) -> str:
        latest = latest_list(authority)
        return date_format(latest.next_update, "DATETIME_FORMAT") if latest else "-"

    @display(description="CRL distribution point")
    def list_place(self, authority: CertificateAuthority) -> str:
        return _breakable(authority.crl_url) if authority.crl_url else "none"


class StatusFilter(admin.SimpleListFilter):
    """Which certificates need attention."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        soon = (SOON, f"Expires within {EXPIRES_SOON.days} days")
        return [(Status.VALID, "Valid"), soon, (Status.EXPIRED, "Expired"), (Status.REVOKED, "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[IssuedCertificate]) -> QuerySet[IssuedCertificate]:
        now = timezone.now()
        value = self.value()
        known = cast("IssuedCertificateQuerySet", queryset)
        if value == SOON:
            return known.with_status(Status.VALID, now=now).filter(not_after__lte=now + EXPIRES_SOON)
        return known.with_status(value, now=now) if value in Status.values else queryset


@admin.register(IssuedCertificate)
class IssuedCertificateAdmin(AuditedAdmin, IssuingAdmin, CertificateAdmin):
    """What the local CA issued. Its private keys are not stored here. What is over can be deleted."""

    audit_type = CERTIFICATE_TYPE
    list_display = ["subject", "purpose_label", "status_label", "issued_for", "not_after", "serial_number"]
    list_filter = ["purpose", StatusFilter]
    search_fields = ["subject", "serial_number", "fingerprint_sha256", "issued_for"]
    list_per_page = 50
    actions_detail = ["certificate", "chain", *IssuingAdmin.actions_detail]
    readonly_fields = ["status", "names", "key", "fingerprint", "pem", "predecessor", "successor"]
    fieldsets = [
        (None, {"fields": ["subject", "status", "names", "purpose", "issued_for", "authority", "created_at"]}),
        ("Validity", {"fields": ["not_before", "not_after", "revoked_at", "revocation_reason"]}),
        ("Renewal", {"fields": ["predecessor", "successor"]}),
        ("Key and fingerprint", {"fields": ["key", "serial_number", "fingerprint"]}),
        ("Certificate", {"fields": ["pem"]}),
    ]

    @action(description="Download certificate", permissions=["view"], icon="download")
    def certificate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The certificate as PEM."""
        issued = self.get_object(request, object_id)
        if issued is None:
            raise Http404("no such certificate")
        file_name = f"{file_stem(issued)}.crt"
        return attachment(issued.chain_pem, media_type=CERTIFICATE_MEDIA_TYPE, file_name=file_name)

    @action(description="Download chain", permissions=["view"], icon="link")
    def chain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The certificate as PEM, then those of the CAs up to the root: for servers that want all in one file."""
        issued = self.get_object(request, object_id)
        if issued is None:
            raise Http404("no such certificate")
        content = issued.chain_pem + issued.authority.root.certificate_pem
        return attachment(content, media_type=CERTIFICATE_MEDIA_TYPE, file_name=f"{file_stem(issued)}-chain.crt")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("localca.delete_issuedcertificate")

    def get_deleted_objects(
        self, objs: Iterable[IssuedCertificate], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """The page says of each certificate that cannot be deleted yet why that is so, and then deletes none."""
        going = list(objs)
        needed = [f"{certificate}: {refusal}" for certificate in going if (refusal := why_needed(certificate))]
        return [str(certificate) for certificate in going], {self.opts.verbose_name_plural: len(going)}, set(), needed

    def delete_model(self, request: HttpRequest, obj: IssuedCertificate) -> None:
        # Somebody else may have been faster, with the same result.
        with suppress(IssuedCertificate.DoesNotExist):
            delete_certificate(certificate=obj, user=request.user)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[IssuedCertificate]) -> None:
        for certificate in queryset:
            self.delete_model(request, certificate)

    @display(description="Purpose", ordering="purpose", label={"client": "info", "server": "success"})
    def purpose_label(self, issued: IssuedCertificate) -> tuple[str, str]:
        return issued.purpose, issued.get_purpose_display()

    @display(description="Status", label={Status.VALID: "success", Status.EXPIRED: "warning", Status.REVOKED: "danger"})
    def status_label(self, issued: IssuedCertificate) -> tuple[str, str]:
        return issued.status, issued.status.label

    @display(description="Status")
    def status(self, issued: IssuedCertificate) -> str:
        return str(issued.status.label)

    @display(description="Renewed from")
    def predecessor(self, issued: IssuedCertificate) -> str:
        return _link(issued.renewed_from)

    @display(description="Renewed by")
    def successor(self, issued: IssuedCertificate) -> str:
        return _link(issued.successor)

    @display(description="Subject alternative names")
    def names(self, issued: IssuedCertificate) -> str:
        return ", ".join(issued.facts.subject_alt_names)

    @display(description="Key")
    def key(self, issued: IssuedCertificate) -> str:
        return f"{issued.facts.key_type}, the private key is not stored here"


def _state_of(authority: CertificateAuthority) -> str:
    """In one word: issuing, or what became of it."""
    if authority.revoked_at is not None:
        return "Revoked"
    if authority.retired_at is not None:
        return "Retired"
    return "Issues" if authority.is_active else "Trusted"


def _breakable(word: str) -> str:
    return format_html('<span style="overflow-wrap: anywhere">{}</span>', word)


def _missing_list(authority: CertificateAuthority) -> str:
    """That there is none, and what to do about it."""
    places = " or ".join(list_places(authority))
    where = f"; certificates say that it is at {places}" if places else ""
    return (
        f"not here: whoever has the key makes it{where}. Give it here (Change, Give revocation list): without it, "
        "upstreams that check whole chains refuse everybody."
    )


def _link(certificate: IssuedCertificate | None) -> str:
    if certificate is None:
        return "-"
    page = reverse("admin:localca_issuedcertificate_change", args=[certificate.pk])
    return format_html('<a class="underline" href="{}">{}</a>', page, certificate)
