"""The one row of the site settings, and what the database itself refuses."""

import uuid
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction

from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.secrets import sealed_columns, unreadable_secrets
from aegis_site.kernel.site_settings.models import THE_ID, LoadBalancing, SiteSettings, SmtpSecurity, TLSVersion
from aegis_site.kernel.site_settings.smtp import Security
from hosts import models as hosts_models
from upstream_tls import models as upstream_tls_models

SECRET = "canary-model-77ab"


def test_choices_of_other_apps() -> None:
    """What the kernel writes again is what the apps have."""
    assert LoadBalancing.choices == hosts_models.LoadBalancing.choices
    assert TLSVersion.choices == upstream_tls_models.TLSVersion.choices
    assert set(SmtpSecurity.values) == set(Security)


def test_defaults_are_those_of_a_new_host() -> None:
    """As long as nobody has set anything, new hosts begin as they always did."""
    settings, host, tls = SiteSettings(), hosts_models.Host(), upstream_tls_models.UpstreamTLSConfiguration()
    for name in ("preserve_host", "websockets", "access_log", "load_balancing"):
        assert getattr(settings, f"host_{name}") == getattr(host, name)
    for name in ("min_version", "max_version"):
        assert getattr(settings, f"host_{name}") == getattr(tls, name)


def test_defaults_are_valid() -> None:
    """A new row passes its own checks, and has no secret."""
    settings = SiteSettings()
    settings.clean_fields()
    settings.clean()
    assert str(settings) == "Settings"
    assert not settings.has_smtp_password


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values",
    [
        {"id": uuid.UUID(int=1)},
        {"smtp_port": 0},
        {"smtp_port": 65536},
        {"smtp_security": "ssl"},
        {"smtp_enabled": True, "smtp_host": "mail"},
        {"smtp_enabled": True, "smtp_from_address": "a@example.com"},
        {"smtp_security": "none", "smtp_username": "u"},
        {"host_min_version": "TLSv1.3", "host_max_version": "TLSv1.2"},
        {"audit_retention_days": 29},
        {"audit_retention_days": 3651},
    ],
)
def test_what_the_database_refuses(values: dict[str, Any]) -> None:
    """The invariants hold whoever writes: another row is one of them."""
    with pytest.raises(IntegrityError), transaction.atomic():
        SiteSettings(**values).save(force_insert=True)


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"smtp_enabled": True}, {"smtp_host": "Needed to send mail.", "smtp_from_address": "Needed to send mail."}),
        (
            {"smtp_security": "none", "smtp_username": "u"},
            {
                "smtp_security": "A password is sent over TLS only: choose STARTTLS or TLS, or leave the username "
                "empty."
            },
        ),
        (
            {"host_min_version": "TLSv1.3", "host_max_version": "TLSv1.2"},
            {"host_max_version": "The maximum, TLSv1.2, is below the minimum, TLSv1.3."},
        ),
        ({"smtp_enabled": True, "smtp_host": "a b", "smtp_from_address": "x"}, {
            "smtp_host": "'a b' is neither a DNS name nor an IP address.",
            "smtp_from_address": "'x' is not a mail address.",
        }),
    ],
)  # fmt: skip
def test_what_clean_refuses(values: dict[str, Any], errors: dict[str, str]) -> None:
    """Each at its column, and one error for one mistake."""
    with pytest.raises(ValidationError) as refused:
        SiteSettings(**values).clean()
    assert refused.value.message_dict == {name: [message] for name, message in errors.items()}


@pytest.mark.django_db
def test_the_password_is_rotated_and_checked(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`rotate_ssl_key` and the start-up check find the column by themselves."""
    assert (SiteSettings, SiteSettings._meta.get_field("smtp_password")) in sealed_columns()
    SiteSettings(smtp_password=Sealed.of(SECRET)).save()
    old = settings.AEGIS_SSL_KEY
    settings.AEGIS_SSL_KEY = "2e" * 32
    (unreadable,) = unreadable_secrets()
    assert str(unreadable).startswith(f"site_settings.SiteSettings 'Settings' ({THE_ID}), smtp_password: ")
    settings.AEGIS_SSL_KEY_PREVIOUS = (old,)
    call_command("rotate_ssl_key")
    assert "1 of 1 secrets sealed" in capsys.readouterr().out
    settings.AEGIS_SSL_KEY_PREVIOUS = ()
    assert SiteSettings.objects.get().smtp_password.reveal() == SECRET.encode()
