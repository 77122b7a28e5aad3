"""`manage.py rotate_ssl_key`: what it says, and what it refuses."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import Keyring
from aegis_site.kernel.secrets import unreadable_secrets
from localca.models import CertificateAuthority
from localca.services import ensure_authority, issue_client_certificate

pytestmark = pytest.mark.django_db

OLD, NEW, FOREIGN = "0f" * 32, "2e" * 32, "3d" * 32


@pytest.fixture(autouse=True)
def stored(settings: Any) -> CertificateAuthority:
    """A CA and two more secrets, all sealed with the OLD key."""
    settings.AEGIS_SSL_KEY = OLD
    authority = ensure_authority()
    for secret in ("a", "b"):
        CertificateAuthority.objects.create(
            certificate_pem=authority.certificate_pem, is_active=False, private_key=Sealed.of(secret)
        )
    return authority


def test_a_rotation(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows progress, counts, says that the old key can go; afterwards the CA issues without it."""
    settings.AEGIS_SSL_KEY, settings.AEGIS_SSL_KEY_PREVIOUS = NEW, (OLD,)
    call_command("rotate_ssl_key")
    output = capsys.readouterr().out
    assert "Sealing secrets" in output
    assert "3 of 3 secrets sealed with the current key; the others already were." in output
    assert "AEGIS_SSL_KEY_PREVIOUS is no longer needed by this database." in output
    assert OLD not in output
    assert NEW not in output
    settings.AEGIS_SSL_KEY_PREVIOUS = ()
    assert issue_client_certificate(common_name="orders").record.pk
    assert AuditEntry.objects.filter(action="keys_rotated", target_type="secrets").count() == 1


def test_an_interrupted_rotation_is_finished_by_the_next(
    settings: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle, the old key still opens the rest; the next run counts only what was left."""
    settings.AEGIS_SSL_KEY, settings.AEGIS_SSL_KEY_PREVIOUS = NEW, (OLD,)
    seal = Keyring.seal
    calls: list[bytes] = []

    def seal_one(self: Keyring, plaintext: bytes, place: bytes) -> bytes:
        if calls:
            raise KeyboardInterrupt
        calls.append(place)
        return seal(self, plaintext, place)

    with monkeypatch.context() as patched:
        patched.setattr(Keyring, "seal", seal_one)
        with pytest.raises(KeyboardInterrupt):
            call_command("rotate_ssl_key")
    assert list(unreadable_secrets()) == []
    call_command("rotate_ssl_key")
    assert "2 of 3 secrets sealed" in capsys.readouterr().out


def test_a_wrong_old_key_changes_nothing(settings: Any, stored: CertificateAuthority) -> None:
    """When a secret opens with no configured key, all such rows are named and not one byte is changed."""
    before = {row.pk: row.private_key.blob for row in CertificateAuthority.objects.all()}
    settings.AEGIS_SSL_KEY, settings.AEGIS_SSL_KEY_PREVIOUS = NEW, (FOREIGN,)
    with pytest.raises(CommandError) as raised:
        call_command("rotate_ssl_key")
    message = str(raised.value)
    assert message.startswith("these secrets open with no configured key:\n")
    assert all(str(pk) in message for pk in before)
    assert str(stored) in message
    assert {row.pk: row.private_key.blob for row in CertificateAuthority.objects.all()} == before


def test_an_unusable_key(settings: Any) -> None:
    """A key that is too short is refused with the reason."""
    settings.AEGIS_SSL_KEY = "short"
    with pytest.raises(CommandError, match="at least 20 characters"):
        call_command("rotate_ssl_key", skip_checks=True)


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """With the same key every secret is current already."""
    call_command("rotate_ssl_key")
    assert "0 of 3 secrets sealed" in capsys.readouterr().out
