"""How the CAs of this installation are shown, and what is asked of them.

Laws of this module: a private key has no field here but the one by which it comes in; what is possible is decided by
the services.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from aegis_site.kernel.api import CertificateFactsSerializer, StrictSerializer
from localca.authority_keys import PASSPHRASE_MAX_CHARACTERS, PASSPHRASE_MIN_CHARACTERS, KeyFormat
from localca.authority_material import MAX_CHAIN_BYTES, MAX_KEY_BYTES
from localca.given_lists import MAX_LIST_PEM_BYTES
from localca.models import CertificateAuthority, RevocationReason
from localca.selectors import trust_anchors_pem
from localca.validators import COMMON_NAME_MAX_CHARACTERS, CRL_URL_MAX_CHARACTERS

ROLES = ["root", "intermediate"]


class AuthoritySerializer(serializers.ModelSerializer[CertificateAuthority]):
    """One CA: a root, or an intermediate that `issued_by` issued. `crl` is where its revocation list is."""

    url = serializers.SerializerMethodField()
    name = serializers.CharField(source="__str__")
    role = serializers.SerializerMethodField()
    issued_by = serializers.UUIDField(source="parent_id", allow_null=True)
    key_set = serializers.BooleanField(source="has_key")
    crl = serializers.SerializerMethodField()
    revocation_reason = serializers.SerializerMethodField()
    certificate = serializers.CharField(source="certificate_pem")
    certificate_info = CertificateFactsSerializer(source="facts")

    class Meta:
        model = CertificateAuthority
        fields = [
            "id",
            "url",
            "name",
            "role",
            "issued_by",
            "is_active",
            "key_set",
            "key_exported_at",
            "crl",
            "crl_url",
            "created_at",
            "retired_at",
            "revoked_at",
            "revocation_reason",
            "certificate",
            "certificate_info",
        ]
        read_only_fields = fields

    def get_url(self, authority: CertificateAuthority) -> str:
        return reverse("api-authority-detail", args=[authority.pk], request=self.context.get("request"))

    @extend_schema_field(serializers.ChoiceField(choices=ROLES))
    def get_role(self, authority: CertificateAuthority) -> str:
        return "root" if authority.is_root else "intermediate"

    def get_crl(self, authority: CertificateAuthority) -> str:
        return reverse("api-authority-crl", args=[authority.pk], request=self.context.get("request"))

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_revocation_reason(self, authority: CertificateAuthority) -> str | None:
        return authority.revocation_reason or None


class CertificateAuthoritySerializer(serializers.ModelSerializer[CertificateAuthority]):
    """The public side of the CA that issues; its key has no field here.

    `chain` stands behind each leaf: this CA and those above it, without the root; empty for a root. `trust_anchors` is
    what peers are to trust: the root, during a change of the CA both. `authorities` are all CAs, the latest first.
    """

    certificate = serializers.CharField(source="certificate_pem")
    certificate_info = CertificateFactsSerializer(source="facts")
    chain = serializers.CharField(source="intermediates_pem")
    trust_anchors = serializers.SerializerMethodField()
    authorities = serializers.SerializerMethodField()

    class Meta:
        model = CertificateAuthority
        fields = ["id", "certificate", "certificate_info", "created_at", "chain", "trust_anchors", "authorities"]
        read_only_fields = fields

    def get_trust_anchors(self, authority: CertificateAuthority) -> str:
        return trust_anchors_pem()

    @extend_schema_field(AuthoritySerializer(many=True))
    def get_authorities(self, authority: CertificateAuthority) -> Any:
        return AuthoritySerializer(CertificateAuthority.objects.all(), many=True, context=self.context).data


class DependentSerializer(serializers.Serializer[Any]):
    """What presents a certificate of a CA."""

    name = serializers.CharField()
    certificate = serializers.CharField()
    fingerprint_sha256 = serializers.CharField()


class NeedingCertificateSerializer(serializers.Serializer[Any]):
    """A valid certificate without a successor."""

    id = serializers.UUIDField()
    subject = serializers.CharField()
    serial_number = serializers.CharField()
    not_after = serializers.DateTimeField()


class ReadinessSerializer(serializers.Serializer[Any]):
    """What must be changed before a CA can be retired."""

    is_ready = serializers.BooleanField()
    is_issuing = serializers.BooleanField()
    dependents = DependentSerializer(many=True)
    certificates = NeedingCertificateSerializer(many=True)


def _crl_url() -> serializers.CharField:
    return serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=CRL_URL_MAX_CHARACTERS,
        help_text="An http or https URL; `{id}` stands for the id of the CA.",
    )


class CrlUrlSerializer(StrictSerializer[Any]):
    """Where the list of a CA is, as what it issues says; `""` for nowhere."""

    crl_url = _crl_url()


class NewAuthoritySerializer(CrlUrlSerializer):
    """A CA to be made; without `common_name` it gets one."""

    common_name = serializers.CharField(required=False, allow_blank=True, max_length=COMMON_NAME_MAX_CHARACTERS)


class PemCertificates(serializers.CharField):
    """Certificates as PEM."""

    document = {"format": "pem-certificates"}


class PemPrivateKey(serializers.CharField):
    """A private key as PEM."""

    document = {"format": "pem-private-key"}


class PemRevocationList(serializers.CharField):
    """One revocation list as PEM."""

    document = {"format": "pem-crls"}


class KeySerializer(StrictSerializer[Any]):
    """A CA's private key, with the passphrase when it is encrypted; neither is ever shown."""

    private_key = PemPrivateKey(write_only=True, max_length=MAX_KEY_BYTES)
    passphrase = serializers.CharField(
        required=False,
        allow_blank=True,
        write_only=True,
        trim_whitespace=False,
        max_length=PASSPHRASE_MAX_CHARACTERS,
    )


class ImportSerializer(KeySerializer):
    """An organisation's own intermediate: its chain in any order.

    `root_certificate` is for a root that is neither in the chain nor known here.
    """

    certificate = PemCertificates(max_length=MAX_CHAIN_BYTES)
    root_certificate = PemCertificates(required=False, allow_blank=True, max_length=MAX_CHAIN_BYTES)
    crl_url = _crl_url()


class KeyExportSerializer(StrictSerializer[Any]):
    """What encrypts the key, and as what it leaves; `pkcs12` unless asked for."""

    # No CharField takes a NUL; here the OpenAPI document has to say so, for everything else is accepted.
    passphrase = serializers.RegexField(
        r"^[^\x00]*$",
        write_only=True,
        trim_whitespace=False,
        min_length=PASSPHRASE_MIN_CHARACTERS,
        max_length=PASSPHRASE_MAX_CHARACTERS,
    )
    format = serializers.ChoiceField(choices=KeyFormat.values, required=False)


class ExportedKeySerializer(serializers.Serializer[Any]):
    """Certificates and key as PKCS#12 (base64), or the key alone as encrypted PKCS#8 (PEM), as asked for."""

    pkcs12 = serializers.CharField(required=False)
    private_key = serializers.CharField(required=False)


class GivenListSerializer(StrictSerializer[Any]):
    """A revocation list of the CA that was signed elsewhere."""

    crl = PemRevocationList(max_length=MAX_LIST_PEM_BYTES)


class KeyRemovalSerializer(StrictSerializer[Any]):
    """The name of the CA, when its key was never exported."""

    confirmation = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=255)


class AuthorityRevocationSerializer(StrictSerializer[Any]):
    """Why; RFC 5280 section 5.3.1."""

    reason = serializers.ChoiceField(choices=RevocationReason.choices)
