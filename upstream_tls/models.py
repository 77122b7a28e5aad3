"""The upstream TLS configuration of each host, and the keys that wait for a certificate of another CA.

Laws of this module: what is stored of a configuration was checked by `upstream_tls.services.apply_changes`, the only
writer of these columns; certificates are canonical PEM; a key is sealed and only its public fingerprint is in clear.
"""

import datetime
import functools
import uuid

from django.db import models
from django.utils import timezone

from aegis_site.kernel.certificates import CertificateFacts
from aegis_site.kernel.fields import SealedField
from localca.keys import KeyType
from localca.signing_requests import SigningRequest, read_signing_request
from upstream_tls.stored import stored_facts
from upstream_tls.tls.crl import RevocationLists, parse_crls

# A CA whose people are asked may take weeks. After this the key is forgotten.
REQUEST_KEPT_FOR = datetime.timedelta(days=90)


class TLSVersion(models.TextChoices):
    """The versions that Aegis speaks with upstreams. Their names sort by age."""

    TLS_1_2 = "TLSv1.2", "TLS 1.2"
    TLS_1_3 = "TLSv1.3", "TLS 1.3"


def default_alpn() -> list[str]:
    """What is offered unless configured otherwise: the protocol that the proxy speaks."""
    return ["http/1.1"]


class UpstreamTLSConfiguration(models.Model):
    """How one host proves itself to its https upstreams, and what it demands of them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.OneToOneField("hosts.Host", on_delete=models.CASCADE, related_name="upstream_tls")
    enabled = models.BooleanField("Enable mTLS", default=False)
    client_certificate = models.TextField("Client Certificate", blank=True)
    client_key = SealedField("Client Key")
    client_key_spki_sha256 = models.CharField(max_length=64, blank=True, editable=False, db_index=True)
    ca_certificate = models.TextField("CA Certificate", blank=True)
    skip_verify = models.BooleanField("Skip TLS Verification", default=False)
    skip_verify_reason = models.CharField("Reason", max_length=500, blank=True)
    skip_verify_until = models.DateTimeField("Until", null=True, blank=True)
    skip_verify_by = models.CharField("Switched on by", max_length=150, blank=True, editable=False)
    skip_verify_since = models.DateTimeField("Switched on at", null=True, blank=True, editable=False)
    server_name = models.CharField("Server Name Override", max_length=253, blank=True)
    verify_name = models.CharField("Verify Name", max_length=2048, blank=True)
    min_version = models.CharField("Minimum TLS version", max_length=7, choices=TLSVersion, default=TLSVersion.TLS_1_2)
    max_version = models.CharField("Maximum TLS version", max_length=7, choices=TLSVersion, default=TLSVersion.TLS_1_3)
    ciphers = models.CharField("TLS 1.2 cipher list", max_length=500, blank=True)
    alpn: "models.JSONField[list[str], list[str]]" = models.JSONField(
        "ALPN protocols", default=default_alpn, blank=True
    )
    crl = models.TextField("Certificate revocation lists", blank=True)
    pinned_spki_sha256: "models.JSONField[list[str], list[str]]" = models.JSONField(
        "Pinned public keys", default=list, blank=True
    )
    verify_depth = models.PositiveSmallIntegerField("Verify depth", null=True, blank=True)

    class Meta:
        verbose_name = "upstream TLS configuration"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(min_version__in=TLSVersion.values, max_version__in=TLSVersion.values)
                & models.Q(min_version__lte=models.F("max_version")),
                name="upstream_tls_version_range",
            ),
            models.CheckConstraint(
                condition=models.Q(enabled=False)
                | (~models.Q(client_certificate="") & models.Q(client_key__isnull=False)),
                name="upstream_tls_enabled_needs_certificate_and_key",
            ),
            models.CheckConstraint(
                condition=models.Q(client_key__isnull=True, client_key_spki_sha256="")
                | (models.Q(client_key__isnull=False) & ~models.Q(client_key_spki_sha256="")),
                name="upstream_tls_key_has_fingerprint",
            ),
            models.CheckConstraint(
                condition=models.Q(skip_verify=True)
                | models.Q(
                    skip_verify_reason="",
                    skip_verify_until__isnull=True,
                    skip_verify_by="",
                    skip_verify_since__isnull=True,
                ),
                name="upstream_tls_exception_only_while_skipped",
            ),
        ]

    def __str__(self) -> str:
        return f"upstream TLS of host {self.host_id}"

    def is_verification_skipped(self, now: datetime.datetime) -> bool:
        """Whether any certificate of the upstream is accepted: after its end date, the exception means nothing."""
        return self.skip_verify and (self.skip_verify_until is None or now < self.skip_verify_until)

    @property
    def has_client_key(self) -> bool:
        """Whether a client key is stored. Opens nothing."""
        return self.client_key is not None

    @property
    def client_certificate_facts(self) -> tuple[CertificateFacts, ...]:
        """The facts of the client certificate's chain, leaf first; empty when there is none."""
        return stored_facts(self.client_certificate)

    @property
    def ca_certificate_facts(self) -> tuple[CertificateFacts, ...]:
        """The facts of the CA bundle; empty means the system trust store."""
        return stored_facts(self.ca_certificate)

    @property
    def revocation_lists(self) -> RevocationLists:
        """The stored revocation lists, parsed at each call."""
        return parse_crls(self.crl.encode("ascii")) if self.crl else ()


class CertificateRequest(models.Model):
    """A key that waits for the certificate of another CA.

    It leaves its row together with that certificate: into the configuration of its host, or into a rotation, which
    tries it first; then the row stays until the certificate is in use for good.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey("hosts.Host", on_delete=models.CASCADE, related_name="certificate_requests")
    key = SealedField("Key", null=False, blank=False)
    key_spki_sha256 = models.CharField(max_length=64, editable=False)
    csr = models.TextField("Signing request")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        ordering = ["created_at", "pk"]

    def __str__(self) -> str:
        return f"certificate request {self.pk} of host {self.host_id}"

    @functools.cached_property
    def signing_request(self) -> SigningRequest:
        """What the other CA is asked for."""
        return read_signing_request(self.csr)

    @property
    def subject(self) -> str:
        """As RFC 4514 writes it."""
        return self.signing_request.request.subject.rfc4514_string()

    @property
    def subject_alt_names(self) -> tuple[str, ...]:
        """As `DNS:x`, `IP:192.0.2.1`, `URI:spiffe://x`."""
        return self.signing_request.subject_alt_names()

    @property
    def key_type(self) -> KeyType:
        """Of the key that was made for it."""
        return self.signing_request.key_type

    @property
    def expires_at(self) -> datetime.datetime:
        """When the key is forgotten."""
        return self.created_at + REQUEST_KEPT_FOR
