"""Finding unreadable secrets, and sealing all of them with a new key."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel import secrets
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import Keyring, SecretUnreadable
from aegis_site.kernel.secrets import (
    UnreadableSecret,
    count_secrets,
    reseal_secrets,
    sealed_columns,
    unreadable_secrets,
)
from localca.models import CertificateAuthority
from localca.services import ensure_authority

pytestmark = pytest.mark.django_db

OLD, NEW, FOREIGN = "0f" * 32, "2e" * 32, "3d" * 32
ROWS = 7


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "ROWS_PER_BATCH", 3)


@pytest.fixture
def rows(settings: Any) -> list[CertificateAuthority]:
    """Rows with secrets of which the first is the real CA; all sealed with the OLD key."""
    settings.AEGIS_SSL_KEY = OLD
    first = ensure_authority()
    copies = [
        CertificateAuthority.objects.create(
            certificate_pem=first.certificate_pem, is_active=False, private_key=Sealed.of(f"secret {number}")
        )
        for number in range(ROWS - 1)
    ]
    return [first, *copies]


@pytest.fixture
def rotating(settings: Any, rows: list[CertificateAuthority]) -> None:
    """The operator has set the NEW key and kept the OLD one."""
    settings.AEGIS_SSL_KEY, settings.AEGIS_SSL_KEY_PREVIOUS = NEW, (OLD,)


def blobs() -> list[bytes]:
    return [row.private_key.blob for row in CertificateAuthority.objects.order_by("pk")]


def test_every_sealed_column_is_known() -> None:
    """The CA's key is among the columns that are checked and sealed anew."""
    assert (CertificateAuthority, CertificateAuthority._meta.get_field("private_key")) in sealed_columns()


def test_counting(rows: list[CertificateAuthority]) -> None:
    """Each stored secret counts once."""
    assert count_secrets() == ROWS


def test_all_readable(rows: list[CertificateAuthority]) -> None:
    """With the right key nothing is reported."""
    assert list(unreadable_secrets()) == []


def test_unreadable_secrets_are_named(rows: list[CertificateAuthority], settings: Any) -> None:
    """Each secret that does not open is told with model, column, row and reason, and without its value."""
    settings.AEGIS_SSL_KEY = FOREIGN
    found = list(unreadable_secrets())
    assert len(found) == ROWS
    first = next(secret for secret in found if secret.primary_key == str(rows[0].pk))
    assert first == UnreadableSecret(
        model="localca.CertificateAuthority",
        column="private_key",
        primary_key=str(rows[0].pk),
        row=str(rows[0]),
        reason=first.reason,
    )
    assert "not in AEGIS_SSL_KEY or AEGIS_SSL_KEY_PREVIOUS" in first.reason
    assert str(first) == (f"localca.CertificateAuthority '{rows[0]}' ({rows[0].pk}), private_key: {first.reason}")


def test_a_damaged_row_does_not_hide_the_others(rows: list[CertificateAuthority]) -> None:
    """One changed value is reported alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE localca_certificateauthority SET private_key = %s WHERE id = %s", [b"junk", rows[3].pk.hex]
        )
    assert [secret.primary_key for secret in unreadable_secrets()] == [str(rows[3].pk)]


def test_looking_needs_no_column_that_a_migration_will_add(rows: list[CertificateAuthority]) -> None:
    """`manage.py migrate` looks first: it failed with "no such column" where a model with a secret had a new one."""
    with CaptureQueriesContext(connection) as queries:
        assert list(unreadable_secrets()) == []
    (read,) = [query["sql"] for query in queries if 'FROM "localca_certificateauthority"' in query["sql"]]
    selected = read.partition(" FROM ")[0]
    assert "private_key" in selected
    assert "crl_url" not in selected


@pytest.mark.usefixtures("rotating")
def test_resealing(rows: list[CertificateAuthority], settings: Any) -> None:
    """Every secret is sealed with the new key, in batches, and opens without the old one."""
    progress: list[int] = []
    assert reseal_secrets(on_progress=progress.append) == ROWS
    assert progress == [3, 3, 1]
    settings.AEGIS_SSL_KEY_PREVIOUS = ()
    assert list(unreadable_secrets()) == []
    assert CertificateAuthority.objects.get(pk=rows[1].pk).private_key.reveal() == b"secret 0"
    new_keyring = Keyring(NEW)
    assert all(new_keyring.is_current(blob) for blob in blobs())


@pytest.mark.usefixtures("rotating")
def test_resealing_twice_changes_nothing() -> None:
    """A second run finds all secrets current and leaves their bytes alone."""
    reseal_secrets(on_progress=lambda _: None)
    before = blobs()
    assert reseal_secrets(on_progress=lambda _: None) == 0
    assert blobs() == before


@pytest.mark.usefixtures("rotating")
def test_resealing_can_be_interrupted_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption every secret opens, and the next run does the rest."""
    seal = Keyring.seal
    sealed: list[bytes] = []

    def seal_four(self: Keyring, plaintext: bytes, place: bytes) -> bytes:
        if len(sealed) == 4:
            raise KeyboardInterrupt
        sealed.append(place)
        return seal(self, plaintext, place)

    with monkeypatch.context() as patched:
        patched.setattr(Keyring, "seal", seal_four)
        with pytest.raises(KeyboardInterrupt):
            reseal_secrets(on_progress=lambda _: None)
    assert list(unreadable_secrets()) == []
    assert sum(Keyring(NEW).is_current(blob) for blob in blobs()) == 4
    assert reseal_secrets(on_progress=lambda _: None) == ROWS - 4
    assert all(Keyring(NEW).is_current(blob) for blob in blobs())


@pytest.mark.usefixtures("rotating")
def test_a_faster_writer_is_not_overwritten(rows: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that was replaced between reading and writing keeps its new value."""
    seal = Keyring.seal
    raced = rows[2]

    def replace_then_seal(self: Keyring, plaintext: bytes, place: bytes) -> bytes:
        if place == CertificateAuthority._meta.get_field("private_key").place_at(raced.pk):
            monkeypatch.setattr(Keyring, "seal", seal)
            raced.private_key = Sealed.of(b"replaced meanwhile")
            raced.save()
        return seal(self, plaintext, place)

    monkeypatch.setattr(Keyring, "seal", replace_then_seal)
    assert reseal_secrets(on_progress=lambda _: None) == ROWS - 1
    assert CertificateAuthority.objects.get(pk=raced.pk).private_key.reveal() == b"replaced meanwhile"


def test_resealing_stops_at_what_no_key_opens(rows: list[CertificateAuthority], settings: Any) -> None:
    """A secret of an unknown key is an error, not a loss."""
    settings.AEGIS_SSL_KEY = FOREIGN
    before = blobs()
    with pytest.raises(SecretUnreadable, match="not in AEGIS_SSL_KEY"):
        reseal_secrets(on_progress=lambda _: None)
    assert blobs() == before
