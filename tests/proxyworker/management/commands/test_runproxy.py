"""`manage.py runproxy`. That it serves traffic is shown by tests/proxyworker/test_service.py and the e2e tests."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from aegis_site.kernel.keyring import KeyringError
from proxyworker.management.commands import runproxy


def test_without_a_keyring_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with the keyring's own words, before it installs a reactor."""

    def broken() -> None:
        raise KeyringError("missing_key", "AEGIS_SSL_KEY is not set")

    monkeypatch.setattr(runproxy, "get_keyring", broken)
    monkeypatch.setattr(runproxy.asyncioreactor, "install", lambda loop: pytest.fail("a reactor was installed"))
    with pytest.raises(CommandError, match="AEGIS_SSL_KEY is not set"):
        call_command("runproxy")
