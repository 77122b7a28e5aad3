"""What an administrator sets for the whole installation.

Laws of this module: there is one row at most, and as long as there is none the defaults count; the password is sealed.
Choices that belong to an app are written again here, because the kernel imports none; a test compares them.
"""

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from aegis_site.kernel.fields import SealedField
from aegis_site.kernel.site_settings.smtp import Security
from aegis_site.kernel.site_settings.validators import (
    MAX_ADDRESS_CHARACTERS,
    Within,
    clean_ca_certificate,
    clean_mail_address,
    clean_public_url,
    clean_recipients,
    clean_smtp_host,
    validate_credential,
    validate_printable,
)

# The secret is bound to its row, and the row is always this one.
THE_ID = uuid.UUID("5e771965-0000-4000-8000-000000000001")

RETENTION_DAYS = Within(30, 3650)


class SmtpSecurity(models.TextChoices):
    """`smtp.Security`, to be chosen."""

    STARTTLS = Security.STARTTLS, "STARTTLS (usually port 587)"
    TLS = Security.TLS, "TLS (usually port 465)"
    NONE = Security.NONE, "None: readable by everybody in between"


class TLSVersion(models.TextChoices):
    """`upstream_tls.models.TLSVersion`."""

    TLS_1_2 = "TLSv1.2", "TLS 1.2"
    TLS_1_3 = "TLSv1.3", "TLS 1.3"


class LoadBalancing(models.TextChoices):
    """`hosts.models.LoadBalancing`."""

    ROUND_ROBIN = "round_robin", "Round robin"
    LEAST_CONNECTIONS = "least_connections", "Least connections"
    IP_HASH = "ip_hash", "IP hash"
    RANDOM_TWO_CHOICES = "random_two_choices", "Random two choices"


class SecondFactorFor(models.TextChoices):
    """Whose sign-in needs a second factor."""

    NOBODY = "nobody", "Nobody: whoever wants to has it"
    ADMINISTRATORS = "administrators", "Administrators and superusers"
    OPERATORS = "operators", "Operators, administrators and superusers"
    EVERYONE = "everyone", "Everyone"


class SiteSettings(models.Model):
    """The settings of this installation."""

    id = models.UUIDField(primary_key=True, default=THE_ID, editable=False)
    site_name = models.CharField(
        max_length=100,
        default="Aegis",
        validators=[validate_printable],
        help_text="Tells installations apart, such as in the subject of a mail.",
    )
    public_url = models.CharField(
        "public URL",
        max_length=500,
        blank=True,
        help_text="Where browsers find this admin, such as https://aegis.example.com; for links in mails.",
    )
    smtp_enabled = models.BooleanField("send mail", default=False)
    smtp_host = models.CharField("server", max_length=253, blank=True, help_text="A DNS name or an IP address.")
    smtp_port = models.PositiveIntegerField("port", default=587, validators=[Within(1, 65535)])
    smtp_security = models.CharField(
        "security",
        max_length=8,
        choices=SmtpSecurity,
        default=SmtpSecurity.STARTTLS,
        help_text="With TLS the server's certificate is always verified, by the name above.",
    )
    smtp_username = models.CharField(
        "username",
        max_length=255,
        blank=True,
        validators=[validate_credential],
        help_text="Empty: the server takes mail without a sign-in.",
    )
    smtp_password = SealedField("password")
    smtp_from_address = models.CharField("sender", max_length=MAX_ADDRESS_CHARACTERS, blank=True)
    smtp_ca_certificate = models.TextField(
        "CA certificate", blank=True, help_text="PEM. Verifies the server's certificate. Empty: the system trust store."
    )
    smtp_timeout_s = models.PositiveSmallIntegerField(
        "time limit",
        default=10,
        validators=[Within(1, 60)],
        help_text="Seconds for one mail, everything included. A test mail has ten at most.",
    )
    recipients: "models.JSONField[list[str], list[str]]" = models.JSONField(
        default=list, blank=True, help_text="Mail addresses that get the notifications of this installation."
    )
    host_preserve_host = models.BooleanField("Preserve Host Header", default=False)
    host_websockets = models.BooleanField("WebSockets", default=True)
    host_access_log = models.BooleanField("Access log", default=True)
    host_load_balancing = models.CharField(
        "Load balancing", max_length=20, choices=LoadBalancing, default=LoadBalancing.ROUND_ROBIN
    )
    host_min_version = models.CharField(
        "Minimum TLS version", max_length=7, choices=TLSVersion, default=TLSVersion.TLS_1_2
    )
    host_max_version = models.CharField(
        "Maximum TLS version", max_length=7, choices=TLSVersion, default=TLSVersion.TLS_1_3
    )
    second_factor_for = models.CharField(
        "two-factor sign-in is demanded of",
        max_length=16,
        choices=SecondFactorFor,
        default=SecondFactorFor.NOBODY,
        help_text="Who has none is led to its page and can do nothing else before. API tokens go on working.",
    )
    audit_retention_days = models.PositiveIntegerField(
        "audit log",
        default=365,
        validators=[RETENTION_DAYS],
        help_text="Days that an entry of the audit log is kept: 30 to 3650.",
    )
    # Null until the first change, so that the row that is created for it looks as the defaults did.
    updated_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "site settings"
        verbose_name_plural = "site settings"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=THE_ID), name="site_settings_one_row"),
            models.CheckConstraint(
                condition=models.Q(smtp_security__in=SmtpSecurity.values), name="site_settings_smtp_security"
            ),
            models.CheckConstraint(
                condition=models.Q(smtp_port__gte=1, smtp_port__lte=65535), name="site_settings_smtp_port"
            ),
            models.CheckConstraint(
                condition=models.Q(smtp_enabled=False) | ~models.Q(smtp_host="") & ~models.Q(smtp_from_address=""),
                name="site_settings_mail_needs_server_and_sender",
            ),
            models.CheckConstraint(
                condition=~models.Q(smtp_security=SmtpSecurity.NONE) | models.Q(smtp_username=""),
                name="site_settings_password_over_tls_only",
            ),
            models.CheckConstraint(
                condition=models.Q(host_min_version__lte=models.F("host_max_version")),
                name="site_settings_version_range",
            ),
            models.CheckConstraint(
                condition=models.Q(second_factor_for__in=SecondFactorFor.values),
                name="site_settings_second_factor_for",
            ),
            models.CheckConstraint(
                condition=models.Q(audit_retention_days__gte=RETENTION_DAYS.low)
                & models.Q(audit_retention_days__lte=RETENTION_DAYS.high),
                name="site_settings_audit_retention",
            ),
        ]

    def __str__(self) -> str:
        return "Settings"

    @property
    def has_smtp_password(self) -> bool:
        """Whether a password is stored. Opens nothing."""
        return self.smtp_password is not None

    def clean(self) -> None:
        """Puts values into their canonical form, and compares those that depend on each other."""
        errors: dict[str, Any] = {}
        for name, clean in _CLEANERS.items():
            try:
                setattr(self, name, clean(getattr(self, name)))
            except ValidationError as error:
                errors[name] = error.error_list
        if self.smtp_enabled:
            for name in ("smtp_host", "smtp_from_address"):
                if not getattr(self, name) and name not in errors:
                    errors[name] = [ValidationError("Needed to send mail.", code="required")]
        if self.smtp_username and self.smtp_security == SmtpSecurity.NONE:
            text = "A password is sent over TLS only: choose STARTTLS or TLS, or leave the username empty."
            errors["smtp_security"] = [ValidationError(text, code="password_in_clear")]
        if self.host_min_version > self.host_max_version:
            text = f"The maximum, {self.host_max_version}, is below the minimum, {self.host_min_version}."
            errors["host_max_version"] = [ValidationError(text, code="invalid")]
        if errors:
            raise ValidationError(errors)


_CLEANERS: dict[str, Any] = {
    "public_url": clean_public_url,
    "smtp_host": clean_smtp_host,
    "smtp_from_address": clean_mail_address,
    "smtp_ca_certificate": clean_ca_certificate,
    "recipients": clean_recipients,
}
