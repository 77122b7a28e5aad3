"""The local CA and what it issued.

Laws of this module: a CA's key is sealed in its row; the private keys of issued certificates are not stored here at
all. Certificates never change, so what describes one is read from it.
"""

import uuid
from functools import cached_property

from cryptography import x509
from django.db import models

from aegis_site.kernel.certificates import CertificateFacts, describe
from aegis_site.kernel.fields import SealedField


class Purpose(models.TextChoices):
    """What a certificate may be used for; exactly one thing."""

    CLIENT = "client", "Client"
    SERVER = "server", "Server"


class CertificateAuthority(models.Model):
    """A CA of this installation. At most one is active: the one that issues."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    certificate_pem = models.TextField("certificate")
    private_key = SealedField(null=False, blank=False)
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField("created at", auto_now_add=True)

    class Meta:
        verbose_name = "certificate authority"
        verbose_name_plural = "certificate authorities"
        ordering = ["-created_at"]
        constraints = [
            # Two processes that start at the same time: the second insert fails, and the process takes the first CA.
            models.UniqueConstraint(
                fields=["is_active"], condition=models.Q(is_active=True), name="localca_one_active_authority"
            )
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

    class Meta:
        verbose_name = "issued certificate"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(purpose__in=Purpose.values), name="localca_issued_purpose"),
            models.CheckConstraint(
                condition=models.Q(not_before__lt=models.F("not_after")), name="localca_issued_validity"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} ({self.serial_number[:8]}…)"

    @cached_property
    def facts(self) -> CertificateFacts:
        """What the certificate says."""
        return describe(x509.load_pem_x509_certificate(self.certificate_pem.encode("ascii")))
