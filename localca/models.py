"""The local CA, what it issued, and what it took back.

Laws of this module: a CA's key is sealed in its row, or is not here; the private keys of issued certificates are not
stored here at all. Certificates never change, so what describes one is read from it. A revocation is never undone.
"""

import datetime
import uuid
from functools import cached_property
from typing import Any, Self, cast

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.db import models
from django.utils import timezone

from aegis_site.kernel.certificates import CertificateFacts, describe
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import SealedField
from localca.keys import PrivateKey
from localca.profiles import Issuer
from localca.validators import CRL_URL_MAX_CHARACTERS

# What the audit log calls an issued certificate, and a CA.
CERTIFICATE_TYPE = "certificate"
AUTHORITY_TYPE = "ca"


class KeyMissing(AegisError):
    """The private key of a CA is not stored here: it was removed, or never was."""


class Purpose(models.TextChoices):
    """What a certificate may be used for; exactly one thing."""

    CLIENT = "client", "Client"
    SERVER = "server", "Server"


class Status(models.TextChoices):
    """What became of a certificate. A revoked one stays revoked when it expires."""

    VALID = "valid", "Valid"
    EXPIRED = "expired", "Expired"
    REVOKED = "revoked", "Revoked"


class RevocationReason(models.TextChoices):
    """RFC 5280 section 5.3.1, in its words.

    Without `certificateHold` and `removeFromCRL`: what can be taken back protects nobody meanwhile.
    """

    UNSPECIFIED = "unspecified", "Unspecified"
    KEY_COMPROMISE = "keyCompromise", "Key compromise: somebody else may have the private key"
    CA_COMPROMISE = "cACompromise", "CA compromise"
    AFFILIATION_CHANGED = "affiliationChanged", "Affiliation changed: the subject belongs elsewhere"
    SUPERSEDED = "superseded", "Superseded: another certificate is in use"
    CESSATION_OF_OPERATION = "cessationOfOperation", "Cessation of operation: no longer needed"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", "Privilege withdrawn"
    AA_COMPROMISE = "aACompromise", "Attribute authority compromise"


class CertificateAuthorityQuerySet(models.QuerySet["CertificateAuthority"]):
    """Sets of CAs."""

    def trusted(self) -> Self:
        """Those that are neither retired nor revoked; the one that issues first."""
        return self.filter(retired_at=None, revoked_at=None).order_by("-is_active", "-created_at")

    def with_path(self) -> Self:
        """With what usually stands above, in one query; who stands higher is fetched when asked for."""
        return self.select_related("parent__parent")


class CertificateAuthority(models.Model):
    """A CA of this installation: a root, or with a `parent` an intermediate. At most one is active: it issues."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    certificate_pem = models.TextField("certificate")
    private_key = SealedField()
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField("created at", auto_now_add=True)
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children", verbose_name="issued by"
    )
    crl_url = models.CharField(
        "CRL distribution point",
        max_length=CRL_URL_MAX_CHARACTERS,
        blank=True,
        help_text="Stands in what this CA issues from then on. Empty: nothing does.",
    )
    key_exported_at = models.DateTimeField("key exported at", null=True, blank=True, editable=False)
    retired_at = models.DateTimeField("retired at", null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField("revoked at", null=True, blank=True, editable=False)
    revocation_reason = models.CharField(max_length=24, choices=RevocationReason, blank=True, editable=False)

    objects = CertificateAuthorityQuerySet.as_manager()

    class Meta:
        verbose_name = "certificate authority"
        verbose_name_plural = "certificate authorities"
        ordering = ["-created_at"]
        constraints = [
            # Two processes that start at the same time: the second insert fails, and the process takes the first CA.
            models.UniqueConstraint(
                fields=["is_active"], condition=models.Q(is_active=True), name="localca_one_active_authority"
            ),
            models.CheckConstraint(
                condition=models.Q(is_active=False)
                | models.Q(private_key__isnull=False, retired_at__isnull=True, revoked_at__isnull=True),
                name="localca_active_can_sign",
            ),
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=True, revocation_reason="")
                | models.Q(
                    revoked_at__isnull=False, parent__isnull=False, revocation_reason__in=RevocationReason.values
                ),
                name="localca_authority_revoked_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.facts.subject.removeprefix("CN=")

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The CA's certificate, parsed."""
        return x509.load_pem_x509_certificate(self.certificate_pem.encode("ascii"))

    @cached_property
    def facts(self) -> CertificateFacts:
        """What the CA's certificate says."""
        return describe(self.certificate)

    @property
    def is_root(self) -> bool:
        """Whether it is a trust anchor and not an intermediate."""
        return self.parent_id is None

    @property
    def has_key(self) -> bool:
        """Whether its private key is stored here. Opens nothing."""
        return self.private_key is not None

    @property
    def is_over(self) -> bool:
        """Whether it was retired or revoked: peers trust it no longer, or are told not to."""
        return self.retired_at is not None or self.revoked_at is not None

    @property
    def path(self) -> "tuple[CertificateAuthority, ...]":
        """This CA, then who issued it, up to the root. A query for each above the second that was not fetched along."""
        return (self, *self.parent.path) if self.parent else (self,)

    @property
    def root(self) -> "CertificateAuthority":
        """The trust anchor above. Queries as `path`."""
        return self.path[-1]

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Those of `path`. Queries as that."""
        return tuple(authority.certificate for authority in self.path)

    @property
    def intermediates_pem(self) -> str:
        """What stands behind a leaf of this CA in its chain: the path without the root. Queries as `path`."""
        return "".join(authority.certificate_pem for authority in self.path[:-1])

    def issuer(self) -> Issuer:
        """The CA with its key, open in memory; not kept.

        Raises KeyMissing, and SecretUnreadable when the key does not open.
        """
        if self.private_key is None:
            raise KeyMissing("key_missing", f"The private key of {self} is not stored here, so it cannot sign.")
        key = serialization.load_pem_private_key(self.private_key.reveal(), password=None)
        return Issuer(
            certificate=self.certificate,
            key=cast("PrivateKey", key),
            above=self.certificates[1:],
            crl_url=self.crl_url,
        )

    def summary(self) -> dict[str, Any]:
        """What the audit log keeps of it: which CA, and its state; of the key, whether it is here."""
        return {
            "subject": self.facts.subject,
            "fingerprint_sha256": self.facts.fingerprint_sha256,
            "not_after": self.facts.not_after.isoformat(),
            "issued_by": str(self.parent_id) if self.parent_id else None,
            "is_active": self.is_active,
            "key_set": self.has_key,
            "crl_url": self.crl_url,
            "key_exported_at": _text(self.key_exported_at),
            "retired_at": _text(self.retired_at),
            "revoked_at": _text(self.revoked_at),
            "revocation_reason": str(self.revocation_reason),
        }


class IssuedCertificateQuerySet(models.QuerySet["IssuedCertificate"]):
    """Sets of issued certificates."""

    def with_status(self, status: str, *, now: datetime.datetime) -> Self:
        """Those that have this status at that time."""
        if status == Status.REVOKED:
            return self.filter(revoked_at__isnull=False)
        kept = self.filter(revoked_at__isnull=True)
        return kept.filter(not_after__lte=now) if status == Status.EXPIRED else kept.filter(not_after__gt=now)

    def for_display(self) -> Self:
        """With everything that a page or a document shows, in one query."""
        return self.select_related("authority__parent__parent", "renewed_by").defer(
            "authority__private_key", "authority__parent__private_key", "authority__parent__parent__private_key"
        )


class IssuedCertificate(models.Model):
    """A certificate that the local CA issued. The columns repeat what lists filter, search and sort by."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    authority = models.ForeignKey(CertificateAuthority, on_delete=models.PROTECT, related_name="issued_certificates")
    purpose = models.CharField(max_length=8, choices=Purpose)
    subject = models.CharField(max_length=255)
    serial_number = models.CharField(max_length=40, unique=True, help_text="Hexadecimal.")
    not_before = models.DateTimeField(verbose_name="valid from")
    not_after = models.DateTimeField(verbose_name="valid until")
    fingerprint_sha256 = models.CharField(max_length=64, unique=True, verbose_name="SHA-256 fingerprint")
    certificate_pem = models.TextField("certificate")
    issued_for = models.CharField(max_length=255, blank=True, help_text="What it was issued for, such as a host.")
    created_at = models.DateTimeField(auto_now_add=True, verbose_name="issued at")
    renewed_from = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="renewed_by", editable=False
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revocation_reason = models.CharField(max_length=24, choices=RevocationReason, blank=True, editable=False)

    objects = IssuedCertificateQuerySet.as_manager()

    class Meta:
        verbose_name = "issued certificate"
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["-created_at"], name="localca_issued_latest"),
            models.Index(fields=["not_after"], name="localca_issued_end"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(purpose__in=Purpose.values), name="localca_issued_purpose"),
            models.CheckConstraint(
                condition=models.Q(not_before__lt=models.F("not_after")), name="localca_issued_validity"
            ),
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=True, revocation_reason="")
                | models.Q(revoked_at__isnull=False, revocation_reason__in=RevocationReason.values),
                name="localca_revoked_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} ({self.serial_number[:8]}…)"

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_pem_x509_certificate(self.certificate_pem.encode("ascii"))

    @cached_property
    def facts(self) -> CertificateFacts:
        """What the certificate says."""
        return describe(self.certificate)

    @property
    def status(self) -> Status:
        """What became of it, now."""
        if self.revoked_at is not None:
            return Status.REVOKED
        return Status.EXPIRED if self.not_after <= timezone.now() else Status.VALID

    @property
    def successor(self) -> "IssuedCertificate | None":
        """What it was renewed by. One query unless it was fetched along."""
        return getattr(self, "renewed_by", None)

    @property
    def chain_pem(self) -> str:
        """What to present: the leaf, then intermediates, without the root."""
        return self.certificate_pem + self.authority.intermediates_pem

    def summary(self) -> dict[str, Any]:
        """What the audit log keeps of it: which certificate, and its state."""
        return {
            "purpose": str(self.purpose),
            "subject": self.subject,
            "subject_alt_names": list(self.facts.subject_alt_names),
            "serial_number": self.serial_number,
            "fingerprint_sha256": self.fingerprint_sha256,
            "not_after": self.not_after.isoformat(),
            "issued_for": self.issued_for,
            "renewed_from": str(self.renewed_from_id) if self.renewed_from_id else None,
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
            "revocation_reason": str(self.revocation_reason),
        }


class RevocationList(models.Model):
    """The current certificate revocation list (CRL) of a CA. What it replaced is not kept: each list is complete.

    Of one that was signed elsewhere (`is_given`), later ones repeat what it names, so it stays beside them.
    """

    authority = models.ForeignKey(CertificateAuthority, on_delete=models.CASCADE, related_name="revocation_lists")
    number = models.PositiveBigIntegerField(editable=False)
    this_update = models.DateTimeField(editable=False)
    next_update = models.DateTimeField(editable=False)
    der = models.BinaryField(editable=False)
    is_given = models.BooleanField(default=False, editable=False)

    class Meta:
        verbose_name = "revocation list"
        ordering = ["-number"]
        constraints = [
            # RFC 5280 section 5.2.3: numbers increase. Whoever else signs with this number fails.
            models.UniqueConstraint(fields=["authority", "number"], name="localca_one_list_a_number"),
            models.CheckConstraint(
                condition=models.Q(this_update__lt=models.F("next_update")), name="localca_list_validity"
            ),
        ]

    def __str__(self) -> str:
        return f"revocation list {self.number}"

    @cached_property
    def revocation_list(self) -> x509.CertificateRevocationList:
        """The list, parsed."""
        return x509.load_der_x509_crl(bytes(self.der))

    @property
    def pem(self) -> str:
        """The list as PEM text."""
        return self.revocation_list.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _text(moment: datetime.datetime | None) -> str | None:
    return moment.isoformat() if moment else None
