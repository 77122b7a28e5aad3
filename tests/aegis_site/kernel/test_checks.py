"""Start-up checks of the keyring."""

from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from aegis_site.kernel.checks import SSL_KEY_HINT, check_keyring, check_secrets_open
from aegis_site.kernel.secrets import unreadable_secrets
from localca.services import ensure_authority


def test_a_usable_key() -> None:
    """With a good key there is nothing to say."""
    assert check_keyring(None) == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "AEGIS_SSL_KEY is not set"),
        (
            "short",
            "AEGIS_SSL_KEY must be 32 bytes in hex or base64, or a passphrase of at least 20 characters",
        ),
    ],
)
def test_an_unusable_key(settings: Any, key: str, message: str) -> None:
    """A missing or weak key is E002 with a hint what to do; the check of the secrets does not add to it."""
    settings.AEGIS_SSL_KEY = key
    assert check_keyring(None) == [checks.Error(message, hint=SSL_KEY_HINT, id="aegis.kernel.E002")]
    assert check_secrets_open(None, databases=["default"]) == []


@pytest.mark.django_db
def test_secrets_of_another_key(settings: Any) -> None:
    """Each secret that does not open is an E003 that names its row."""
    authority = ensure_authority()
    settings.AEGIS_SSL_KEY = "2e" * 32
    (secret,) = unreadable_secrets()
    assert check_secrets_open(None, databases=["default"]) == [
        checks.Error(
            str(secret),
            hint="Put the key that sealed it into AEGIS_SSL_KEY or AEGIS_SSL_KEY_PREVIOUS, or enter the secret again.",
            id="aegis.kernel.E003",
        )
    ]
    assert str(authority) in str(secret)
    assert str(authority.pk) in str(secret)


def test_no_database_is_touched_unless_asked() -> None:
    """A plain `manage.py check` opens no connection."""
    assert check_secrets_open(None, databases=None) == []


@pytest.mark.django_db
def test_manage_py_check_names_the_rows(settings: Any) -> None:
    """`manage.py check --database default` fails on a wrong key, naming the row and no key."""
    authority = ensure_authority()
    settings.AEGIS_SSL_KEY = "2e" * 32
    call_command("check")
    with pytest.raises(SystemCheckError) as raised:
        call_command("check", databases=["default"])
    assert "(aegis.kernel.E003) localca.CertificateAuthority" in str(raised.value)
    assert str(authority.pk) in str(raised.value)
    assert settings.AEGIS_SSL_KEY not in str(raised.value)
