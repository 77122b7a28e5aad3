"""How the site settings are read and written. `services.PATHS` has the same names; a test compares them."""

from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from aegis_site.kernel.site_settings.models import (
    RETENTION_DAYS,
    LoadBalancing,
    SecondFactorFor,
    SiteSettings,
    SmtpSecurity,
    TLSVersion,
)
from aegis_site.kernel.site_settings.smtp import Delivery, Stage
from aegis_site.kernel.site_settings.validators import MAX_ADDRESS_CHARACTERS, MAX_PASSWORD_CHARACTERS, MAX_RECIPIENTS


class Text(serializers.CharField):
    """The text of a column, exactly as sent; what it may be is the model's business."""

    def __init__(self, column: str | None = None, *, document: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(source=column, allow_blank=True, trim_whitespace=False, required=False, **options)
        # What the OpenAPI document says about it besides.
        self.document = document or {}


class Flag(serializers.BooleanField):
    """The truth value of a column."""

    def __init__(self, column: str | None = None, **options: Any) -> None:
        super().__init__(source=column, required=False, **options)


class Number(serializers.IntegerField):
    """The number of a column."""

    def __init__(self, column: str | None = None, **options: Any) -> None:
        super().__init__(source=column, required=False, **options)


class Choice(serializers.ChoiceField):
    """One of the values that a column may have."""

    def __init__(self, column: str, choices: list[str], **options: Any) -> None:
        super().__init__(choices, source=column, required=False, **options)


class GeneralSerializer(StrictSerializer[SiteSettings]):
    """What this installation is called, and where its admin is found."""

    site_name = Text(document={"minLength": 1, "maxLength": 100})
    public_url = Text(document={"format": "http-url", "maxLength": 500})


class SmtpSerializer(StrictSerializer[SiteSettings]):
    """The mail server. The password is written only: absent keeps it, `""` clears it."""

    enabled = Flag("smtp_enabled")
    host = Text("smtp_host", document={"format": "host-or-ip", "maxLength": 253})
    port = Number("smtp_port", min_value=1, max_value=65535)
    security = Choice("smtp_security", SmtpSecurity.values)
    username = Text("smtp_username", document={"maxLength": 255})
    password = Text("smtp_password", write_only=True, document={"maxLength": MAX_PASSWORD_CHARACTERS})
    password_set = serializers.BooleanField(source="has_smtp_password", read_only=True)
    from_address = Text("smtp_from_address", document={"format": "mail-address", "maxLength": MAX_ADDRESS_CHARACTERS})
    ca_certificate = Text("smtp_ca_certificate", document={"format": "pem-certificates"})
    timeout_s = Number("smtp_timeout_s", min_value=1, max_value=60)


class Recipients(serializers.ListField):
    """Mail addresses, as above."""

    document = {"maxItems": MAX_RECIPIENTS}

    def __init__(self) -> None:
        super().__init__(child=Text(document={"format": "mail-address"}), required=False)


class NotificationsSerializer(StrictSerializer[SiteSettings]):
    """Who hears of what happens."""

    recipients = Recipients()


class HostDefaultsSerializer(StrictSerializer[SiteSettings]):
    """What the admin's form for a new host begins with. The API has fixed defaults."""

    preserve_host = Flag("host_preserve_host")
    websockets = Flag("host_websockets")
    access_log = Flag("host_access_log")
    load_balancing = Choice("host_load_balancing", LoadBalancing.values)
    min_version = Text("host_min_version", document={"enum": TLSVersion.values})
    max_version = Text("host_max_version", document={"enum": TLSVersion.values})


class SignInSerializer(StrictSerializer[SiteSettings]):
    """What a sign-in needs."""

    two_factor_for = Choice("second_factor_for", SecondFactorFor.values)


class RetentionSerializer(StrictSerializer[SiteSettings]):
    """How long what is kept."""

    audit_days = Number("audit_retention_days", min_value=RETENTION_DAYS.low, max_value=RETENTION_DAYS.high)


class SettingsSerializer(StrictSerializer[SiteSettings]):
    """All settings of the installation. `updated_at` is null as long as nobody has changed any."""

    general = GeneralSerializer(source="*", required=False)
    smtp = SmtpSerializer(source="*", required=False)
    notifications = NotificationsSerializer(source="*", required=False)
    host_defaults = HostDefaultsSerializer(source="*", required=False)
    sign_in = SignInSerializer(source="*", required=False)
    retention = RetentionSerializer(source="*", required=False)
    updated_at = serializers.DateTimeField(read_only=True, allow_null=True)


class TestEmailRequestSerializer(StrictSerializer[Any]):
    """Where the test mail goes, and what of the mail server's settings is to be different from what is saved."""

    to = serializers.CharField(trim_whitespace=False)
    smtp = SmtpSerializer(source="*", required=False)


class DeliverySerializer(serializers.Serializer[Delivery]):
    """What became of the test mail. `stage` is the last one begun."""

    success = serializers.BooleanField()
    stage = serializers.ChoiceField([str(stage) for stage in Stage])
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField()
    server_answer = serializers.CharField(allow_blank=True)
    duration_ms = serializers.IntegerField()
