"""How issued certificates are asked for and shown.

Laws of this module: what a certificate may say is decided by the services; here is the shape of documents, and who gets
the private key in which form. A private key is in the answer to a POST that asked for it, and nowhere else.
"""

import base64
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.reverse import reverse

from aegis_site.kernel.api import StrictSerializer
from localca.keys import KeyType, key_to_pem, key_to_pkcs12
from localca.models import IssuedCertificate, Purpose, RevocationReason, Status
from localca.orders import VALIDITY_DAYS_MAX, Order
from localca.services import IssuedBundle
from localca.signing_requests import MAX_REQUEST_BYTES
from localca.validators import COMMON_NAME_MAX_CHARACTERS, SUBJECT_ALT_NAMES_MAX

PEM, PKCS12 = "pem", "pkcs12"

_NAME_MAX_CHARACTERS = 2100  # a URI of the longest kind, with its prefix


class CertificateSerializer(serializers.ModelSerializer[IssuedCertificate]):
    """A certificate of the local CA. `chain` is what to present: the leaf, then intermediates, without the root."""

    url = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=Status.choices, read_only=True)
    subject_alt_names = serializers.ListField(child=serializers.CharField(), source="facts.subject_alt_names")
    issuer = serializers.CharField(source="facts.issuer")
    key_type = serializers.CharField(source="facts.key_type")
    key_bits = serializers.IntegerField(source="facts.key_bits")
    certificate = serializers.CharField(source="certificate_pem")
    chain = serializers.CharField(source="chain_pem")
    revocation_reason = serializers.SerializerMethodField()
    renewed_from = serializers.UUIDField(source="renewed_from_id", allow_null=True)
    renewed_by = serializers.SerializerMethodField()

    class Meta:
        model = IssuedCertificate
        fields = [
            "id",
            "url",
            "purpose",
            "status",
            "subject",
            "subject_alt_names",
            "issuer",
            "serial_number",
            "not_before",
            "not_after",
            "fingerprint_sha256",
            "key_type",
            "key_bits",
            "issued_for",
            "created_at",
            "revoked_at",
            "revocation_reason",
            "renewed_from",
            "renewed_by",
            "certificate",
            "chain",
        ]
        read_only_fields = fields

    def get_url(self, certificate: IssuedCertificate) -> str:
        return reverse("api-certificate-detail", args=[certificate.pk], request=self.context.get("request"))

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_revocation_reason(self, certificate: IssuedCertificate) -> str | None:
        return certificate.revocation_reason or None

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_renewed_by(self, certificate: IssuedCertificate) -> str | None:
        successor = certificate.successor
        return str(successor.pk) if successor else None


class IssuedCertificateSerializer(CertificateSerializer):
    """A certificate at its issuance. `private_key` (PKCS#8 PEM) or `pkcs12` (base64) is there when it was asked for."""

    private_key = serializers.CharField(required=False)
    pkcs12 = serializers.CharField(required=False)

    class Meta(CertificateSerializer.Meta):
        fields = [*CertificateSerializer.Meta.fields, "private_key", "pkcs12"]
        read_only_fields = fields

    def to_representation(self, instance: IssuedCertificate) -> dict[str, Any]:
        """The key is not the row's: the view hands it over as `key_document`."""
        shown = CertificateSerializer(instance, context=self.context).data
        return {**shown, **self.context.get("key_document", {})}


class SigningRequest(serializers.CharField):
    """A certificate signing request (PKCS#10)."""

    document = {"format": "pem-csr"}


class KeyWishes(StrictSerializer[Any]):
    """For whom the certificate is: for the key of a signing request, or for a new one that the answer hands over."""

    # No member is needed, but one of two is.
    is_body_required = True

    csr = SigningRequest(
        required=False,
        allow_blank=True,
        max_length=MAX_REQUEST_BYTES,
        help_text="A signing request as PEM; its key is certified, and Aegis never sees the private one.",
    )
    include_private_key = serializers.BooleanField(
        required=False, help_text="Have the new private key in this answer. It is stored nowhere."
    )
    passphrase = serializers.CharField(
        required=False,
        write_only=True,
        trim_whitespace=False,
        min_length=8,
        max_length=128,
        help_text="Encrypts the private key in the answer.",
    )
    format = serializers.ChoiceField(
        choices=[PEM, PKCS12], required=False, help_text="How to hand over the private key; pkcs12 needs a passphrase."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if problems := dict(_problems_of(attrs)):
            raise exceptions.ValidationError(problems)
        return attrs


class CertificateOrderSerializer(KeyWishes):
    """What to certify. A server needs at least one subject alternative name; a client without one gets its own.

    With `names_from_csr`, `common_name` and `subject_alt_names` that are left out are those of the signing request;
    without it, of a request only the key counts.
    """

    purpose = serializers.ChoiceField(choices=Purpose.choices)
    common_name = serializers.CharField(required=False, allow_blank=True, max_length=COMMON_NAME_MAX_CHARACTERS)
    subject_alt_names = serializers.ListField(
        child=serializers.CharField(max_length=_NAME_MAX_CHARACTERS),
        required=False,
        max_length=SUBJECT_ALT_NAMES_MAX,
        help_text="DNS:name, IP:address, and for clients URI:uri.",
    )
    validity_days = serializers.IntegerField(required=False, min_value=1, max_value=VALIDITY_DAYS_MAX)
    key_type = serializers.ChoiceField(choices=list(KeyType), required=False)
    issued_for = serializers.CharField(required=False, allow_blank=True, max_length=255)
    names_from_csr = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        problems = dict(_problems_of(attrs))
        if attrs.get("csr") and "key_type" in attrs:
            problems["key_type"] = [_problem("The signing request brings its own key.", "csr_has_key")]
        if attrs.get("names_from_csr") and not attrs.get("csr"):
            problems["names_from_csr"] = [_problem("There is no csr to take names from.", "without_csr")]
        if problems:
            raise exceptions.ValidationError(problems)
        return attrs


class CertificateRenewalSerializer(KeyWishes):
    """Who gets the successor's key, and whether the old certificate is revoked at once (`superseded`)."""

    revoke_old = serializers.BooleanField(required=False)


class CertificateRevocationSerializer(StrictSerializer[Any]):
    """Why; RFC 5280 section 5.3.1."""

    reason = serializers.ChoiceField(choices=RevocationReason.choices)


def order_of(document: dict[str, Any]) -> Order:
    """The order that a validated document places."""
    return Order(
        purpose=Purpose(document["purpose"]),
        common_name=document.get("common_name", ""),
        subject_alt_names=tuple(document.get("subject_alt_names", ())),
        validity_days=document.get("validity_days"),
        key_type=KeyType(document.get("key_type", KeyType.EC_P256)),
        issued_for=document.get("issued_for", ""),
        csr=document.get("csr", ""),
        names_from_csr=document.get("names_from_csr", False),
    )


def key_document(bundle: IssuedBundle, document: dict[str, Any]) -> dict[str, str]:
    """The new private key as the document asked for it; nothing when it did not."""
    if bundle.key is None or not document.get("include_private_key"):
        return {}
    passphrase = document.get("passphrase", "").encode()
    if document.get("format") != PKCS12:
        return {"private_key": key_to_pem(bundle.key, passphrase=passphrase).decode("ascii")}
    record = bundle.record
    issuers = [authority.certificate for authority in record.authority.path]
    content = key_to_pkcs12(bundle.key, certificate=record.certificate, issuers=issuers, passphrase=passphrase)
    return {"pkcs12": base64.b64encode(content).decode("ascii")}


def _problems_of(attrs: dict[str, Any]) -> dict[str, list[exceptions.ErrorDetail]]:
    wants_key = attrs.get("include_private_key", False)
    problems = {}
    if attrs.get("csr") and wants_key:
        message = "Whoever made the signing request has its private key; Aegis does not."
        problems["include_private_key"] = [_problem(message, "csr_has_key")]
    elif not attrs.get("csr") and not wants_key:
        message = "Without the private key, and without a csr, nobody could use the certificate."
        problems["include_private_key"] = [_problem(message, "required")]
    for name in ("passphrase", "format"):
        if name in attrs and not wants_key:
            problems[name] = [_problem("This is about the private key, which is not asked for.", "without_key")]
    if wants_key and attrs.get("format") == PKCS12 and "passphrase" not in attrs:
        problems["passphrase"] = [_problem("A PKCS#12 file needs a passphrase.", "required")]
    return problems


def _problem(message: str, code: str) -> exceptions.ErrorDetail:
    return exceptions.ErrorDetail(message, code=code)
