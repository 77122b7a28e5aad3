"""Reading and changing the site settings, and sending mail by them.

Laws of this module:
- Reading writes nothing. A change is one transaction under a lock, and is in the audit log, the password as a
  fingerprint under a key of this installation.
- Errors are keyed by column; `PATHS` names each column as the API does.
- The stored password goes to the server for which it was entered. Whoever names another one enters it again: otherwise
  a change of the host would be a way to read it.
"""

import email.policy
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.site_settings.models import THE_ID, SiteSettings
from aegis_site.kernel.site_settings.smtp import Delivery, Security, SmtpServer, deliver
from aegis_site.kernel.site_settings.validators import (
    MAX_PASSWORD_CHARACTERS,
    clean_mail_address,
    validate_credential,
)

# A request waits for a test mail, so it has to be over before anything in front of the admin gives up.
TEST_TIMEOUT_S = 10.0

# Every setting: where it stands in the documents of the API and of the audit log, by its column.
PATHS = {
    "site_name": "general.site_name",
    "public_url": "general.public_url",
    "smtp_enabled": "smtp.enabled",
    "smtp_host": "smtp.host",
    "smtp_port": "smtp.port",
    "smtp_security": "smtp.security",
    "smtp_username": "smtp.username",
    "smtp_password": "smtp.password",
    "smtp_from_address": "smtp.from_address",
    "smtp_ca_certificate": "smtp.ca_certificate",
    "smtp_timeout_s": "smtp.timeout_s",
    "recipients": "notifications.recipients",
    "host_preserve_host": "host_defaults.preserve_host",
    "host_websockets": "host_defaults.websockets",
    "host_access_log": "host_defaults.access_log",
    "host_load_balancing": "host_defaults.load_balancing",
    "host_min_version": "host_defaults.min_version",
    "host_max_version": "host_defaults.max_version",
    "second_factor_for": "sign_in.two_factor_for",
    "audit_retention_days": "retention.audit_days",
}

_PLAIN_COLUMNS = tuple(name for name in PATHS if name != "smtp_password")

# Where the password goes, and who vouches for it.
_DESTINATION = ("smtp_host", "smtp_port", "smtp_ca_certificate")


def current_settings() -> SiteSettings:
    """The settings as stored, or the defaults. One query."""
    return SiteSettings.objects.filter(pk=THE_ID).first() or SiteSettings()


def host_defaults() -> dict[str, Any]:
    """What the form for a new host begins with, by the names of its fields. One query."""
    settings = current_settings()
    return {
        path.partition(".")[2]: getattr(settings, name)
        for name, path in PATHS.items()
        if path.startswith("host_defaults.")
    }


def locked_settings() -> SiteSettings:
    """The stored row, created if need be, locked until the transaction ends."""
    SiteSettings.objects.get_or_create(pk=THE_ID)
    return SiteSettings.objects.select_for_update().get(pk=THE_ID)


def apply_values(settings: SiteSettings, values: Mapping[str, Any]) -> None:
    """Give `settings` the named columns, checked, and save nothing. `smtp_password` is a text, "" clears it.

    Raises ValidationError with every error.
    """
    destination = {name: getattr(settings, name) for name in _DESTINATION}
    for name in _PLAIN_COLUMNS:
        if name in values:
            setattr(settings, name, values[name])
    errors: dict[str, Any] = {}
    try:
        settings.full_clean(validate_unique=False)
    except ValidationError as error:
        errors.update(error.error_dict)
    try:
        _apply_password(settings, values.get("smtp_password"), destination)
    except ValidationError as error:
        errors["smtp_password"] = error.error_list
    if errors:
        raise ValidationError(errors)


@transaction.atomic
def change_settings(*, values: Mapping[str, Any], user: Actor | None) -> SiteSettings:
    """Change the named columns, as `apply_values` takes them. Raises ValidationError."""
    settings = locked_settings()
    before = _audited(settings)
    apply_values(settings, values)
    if changes := differences(before, _audited(settings)):
        settings.updated_at = timezone.now()
        settings.save()
        record(
            user=user,
            action="changed",
            target_type="settings",
            target_id=settings.pk,
            target_name=str(settings),
            changes=changes,
        )
    return settings


def by_path(error: ValidationError) -> ValidationError:
    """The same errors, keyed as the API names the columns."""
    return ValidationError({PATHS.get(name, name): problems for name, problems in error.error_dict.items()})


def send_test_mail(settings: SiteSettings, *, to: str) -> Delivery:
    """Send a mail by `settings`, which need not be saved. Blocks for ten seconds at most.

    Whether mail is enabled does not matter: who tests is about to enable it. Raises ValidationError (`to`, and what is
    missing), SecretUnreadable when the stored password does not open.
    """
    errors: dict[str, Any] = {}
    try:
        to = clean_mail_address(to)
    except ValidationError as error:
        errors["to"] = error.error_list
    needed = {"to": to, "smtp_host": settings.smtp_host, "smtp_from_address": settings.smtp_from_address}
    for name, value in needed.items():
        if not value and name not in errors:
            errors[name] = ValidationError("Needed to send mail.", code="required")
    if errors:
        raise ValidationError(errors)
    where = f" at {settings.public_url}" if settings.public_url else ""
    text = (
        f"This is a test mail of the Aegis installation {settings.site_name}{where}.\n\n"
        "Somebody has asked for it on the Settings page or through the API.\nMail from Aegis arrives here.\n"
    )
    message = compose(settings, to=[to], subject="Test mail", text=text)
    return deliver(smtp_server(settings), message, timeout_s=min(TEST_TIMEOUT_S, settings.smtp_timeout_s))


def compose(settings: SiteSettings, *, to: list[str], subject: str, text: str) -> EmailMessage:
    """A mail from this installation; its subject begins with the installation's name."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = settings.smtp_from_address
    message["To"] = ", ".join(to)
    message["Subject"] = f"[{settings.site_name}] {subject}"
    message["Date"] = format_datetime(timezone.now())
    # Without a domain the machine's name would be looked up, and told.
    message["Message-ID"] = make_msgid(domain=settings.smtp_from_address.rpartition("@")[2])
    # RFC 3834 section 5: no vacation message comes back.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def smtp_server(settings: SiteSettings) -> SmtpServer:
    """The mail server of `settings`, with the password in clear. Raises SecretUnreadable."""
    password = settings.smtp_password
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=Security(settings.smtp_security),
        username=settings.smtp_username,
        password=password.reveal().decode() if settings.smtp_username and password is not None else "",
        ca_certificate=settings.smtp_ca_certificate,
    )


def _apply_password(settings: SiteSettings, password: str | None, before: Mapping[str, Any]) -> None:
    if password is None:
        is_elsewhere = any(getattr(settings, name) != value for name, value in before.items())
        if settings.has_smtp_password and is_elsewhere:
            text = "Enter the password again: it was for the server that was set before."
            raise ValidationError(text, code="required_again")
        return
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise ValidationError(f"At most {MAX_PASSWORD_CHARACTERS} characters.", code="max_length")
    validate_credential(password)
    settings.smtp_password = Sealed.of(password) if password else None


def _audited(settings: SiteSettings) -> dict[str, Any]:
    """The document of the audit log: of the password whether there is one, and which."""
    document: dict[str, Any] = {}
    for name, path in PATHS.items():
        section, _, key = path.partition(".")
        value = _fingerprint(settings.smtp_password) if name == "smtp_password" else getattr(settings, name)
        document.setdefault(section, {})[key] = value
    document["smtp"]["password_set"] = settings.has_smtp_password
    return document


def _fingerprint(secret: Sealed | None) -> str | None:
    """Tells two secrets apart, to nobody who has not this installation's key: a password could be guessed otherwise."""
    if secret is None:
        return None
    try:
        return salted_hmac("aegis.settings.fingerprint", secret.reveal(), algorithm="sha256").hexdigest()[:16]
    except SecretUnreadable:
        return "unreadable"
