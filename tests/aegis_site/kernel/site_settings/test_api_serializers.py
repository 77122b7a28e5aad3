"""The documents of the site settings."""

from typing import Any

from rest_framework import serializers

from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.site_settings.api_serializers import SettingsSerializer
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import PATHS

DEFAULTS: dict[str, Any] = {
    "general": {"site_name": "Aegis", "public_url": ""},
    "smtp": {
        "enabled": False,
        "host": "",
        "port": 587,
        "security": "starttls",
        "username": "",
        "password_set": False,
        "from_address": "",
        "ca_certificate": "",
        "timeout_s": 10,
    },
    "notifications": {"recipients": []},
    "host_defaults": {
        "preserve_host": False,
        "websockets": True,
        "access_log": True,
        "load_balancing": "round_robin",
        "min_version": "TLSv1.2",
        "max_version": "TLSv1.3",
    },
    "sign_in": {"two_factor_for": "nobody"},
    "retention": {"audit_days": 365},
    "updated_at": None,
}


def test_the_defaults() -> None:
    """Everything has a value from the start."""
    assert SettingsSerializer(SiteSettings()).data == DEFAULTS


def test_the_password_is_written_only() -> None:
    """The representation says that there is one."""
    data = SettingsSerializer(SiteSettings(smtp_password=Sealed.of("canary"))).data
    assert data["smtp"]["password_set"] is True
    assert "password" not in data["smtp"]
    assert "canary" not in str(data)


def test_paths_are_those_of_the_services() -> None:
    """An error of a column is told at the field that wrote it."""
    sections = [
        (section, field)
        for section, field in SettingsSerializer().fields.items()
        if isinstance(field, serializers.Serializer)
    ]
    paths = {
        inner.source: f"{section}.{name}"
        for section, field in sections
        for name, inner in field.fields.items()
        if not inner.read_only
    }
    assert paths == PATHS
