"""Start-up checks of the keyring. `manage.py check --database default` and `migrate` also open every secret."""

from collections.abc import Sequence
from typing import Any

from django.core import checks

from aegis_site.kernel.keyring import KeyringError, get_keyring
from aegis_site.kernel.secrets import unreadable_secrets

SSL_KEY_HINT = (
    "Embedded mode: run `manage.py up` once, it generates the key into aegis.env in the data directory. "
    "Otherwise set AEGIS_SSL_KEY, for example to the output of `openssl rand -base64 32`, and keep a copy of it safe."
)


@checks.register
def check_keyring(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E002: AEGIS_SSL_KEY is missing or cannot be used."""
    try:
        get_keyring()
    except KeyringError as error:
        return [checks.Error(error.message, hint=SSL_KEY_HINT, id="aegis.kernel.E002")]
    return []


@checks.register(checks.Tags.database)
def check_secrets_open(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """E003: stored secrets that the keyring cannot open, each named."""
    if not databases or check_keyring(None):
        return []
    return [
        checks.Error(
            str(secret),
            hint="Put the key that sealed it into AEGIS_SSL_KEY or AEGIS_SSL_KEY_PREVIOUS, or enter the secret again.",
            id="aegis.kernel.E003",
        )
        for secret in unreadable_secrets()
    ]
