"""Sealed values and the field that stores them, on the local CA's table."""

import copy
import json
import pickle  # noqa: TID251 (to see that it is refused)
import uuid
from typing import Any

import pytest
from django.core import checks, serializers
from django.db import connection, models
from django.test.utils import isolate_apps

from aegis_site.kernel.fields import Sealed, SealedField
from aegis_site.kernel.keyring import SecretUnreadable
from localca.models import CertificateAuthority

SECRET = b"canary-secret-value"
FIELD = CertificateAuthority._meta.get_field("private_key")


def store(secret: bytes = SECRET) -> CertificateAuthority:
    return CertificateAuthority.objects.create(certificate_pem="x", is_active=False, private_key=Sealed.of(secret))


def raw(row: CertificateAuthority) -> bytes:
    """The column as the database has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT private_key FROM localca_certificateauthority WHERE id = %s", [row.pk.hex])
        return bytes(cursor.fetchone()[0])


def write_raw(row: CertificateAuthority, blob: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE localca_certificateauthority SET private_key = %s WHERE id = %s", [blob, row.pk.hex])


@pytest.mark.django_db
def test_a_secret_comes_back_from_its_row() -> None:
    """What was sealed is revealed after a new read, and the column has no trace of it."""
    row = store()
    assert row.private_key.reveal() == SECRET
    assert CertificateAuthority.objects.get(pk=row.pk).private_key.reveal() == SECRET
    assert CertificateAuthority.objects.defer("private_key").get(pk=row.pk).private_key.reveal() == SECRET
    assert SECRET not in raw(row)


@pytest.mark.django_db
def test_saving_again_does_not_seal_again() -> None:
    """An unchanged secret keeps its bytes, so that an unrelated change does not touch it."""
    row = store()
    before = raw(row)
    again = CertificateAuthority.objects.get(pk=row.pk)
    again.certificate_pem = "y"
    again.save()
    assert raw(row) == before


@pytest.mark.django_db
def test_a_value_moved_in_the_database_does_not_open() -> None:
    """Copying a ciphertext to another row makes it unreadable there."""
    rich, poor = store(), store(b"other")
    write_raw(poor, raw(rich))
    moved = CertificateAuthority.objects.get(pk=poor.pk)
    with pytest.raises(SecretUnreadable, match="changed or belongs elsewhere"):
        moved.private_key.reveal()


@pytest.mark.django_db
def test_an_assigned_value_is_sealed_for_its_new_row() -> None:
    """A secret taken from one row and assigned to another is opened and sealed anew."""
    source, target = store(), store(b"other")
    target.private_key = CertificateAuthority.objects.get(pk=source.pk).private_key
    target.save()
    assert raw(target) != raw(source)
    assert CertificateAuthority.objects.get(pk=target.pk).private_key.reveal() == SECRET


@pytest.mark.django_db
def test_a_value_that_no_key_opens_can_still_be_replaced(settings: Any) -> None:
    """After the loss of a key the rows can be read and their secrets entered again."""
    row = store()
    settings.AEGIS_SSL_KEY = "2e" * 32
    found = CertificateAuthority.objects.get(pk=row.pk)
    found.private_key = Sealed.of(b"new")
    found.save()
    assert CertificateAuthority.objects.get(pk=row.pk).private_key.reveal() == b"new"


@pytest.mark.parametrize("value", ["text", b"bytes", memoryview(b"x"), 1])
def test_nothing_but_sealed_values_can_be_assigned(value: Any) -> None:
    """Plain text assigned by mistake is a TypeError which does not repeat it."""
    with pytest.raises(TypeError, match=r"takes Sealed.of\(...\) or None, not (str|bytes|memoryview|int)$"):
        CertificateAuthority(private_key=value)


@pytest.mark.django_db
def test_bulk_operations_are_refused() -> None:
    """A secret belongs to one row: update() and filter() with one are errors."""
    row = store()
    with pytest.raises(TypeError, match="cannot be written or filtered in bulk"):
        CertificateAuthority.objects.update(private_key=Sealed.of(b"x"))
    with pytest.raises(TypeError, match="cannot be written or filtered in bulk"):
        CertificateAuthority.objects.filter(private_key=row.private_key).exists()


def test_a_secret_does_not_show_itself() -> None:
    """No repr, no string, no pickle, no JSON; a deep copy is the same object."""
    sealed = Sealed.of(SECRET)
    assert repr(sealed) == str(sealed) == f"{sealed}" == "<Sealed>"
    with pytest.raises(TypeError, match="not for serialising"):
        pickle.dumps(sealed)
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"key": sealed})
    assert copy.deepcopy(sealed) is sealed
    assert Sealed.of("text").reveal() == b"text"
    assert sealed.blob == b""


@pytest.mark.django_db
def test_fixtures_are_refused() -> None:
    """`dumpdata` stops instead of writing secrets, sealed or not, into a file."""
    store()
    with pytest.raises(TypeError, match="private_key is not for serialising"):
        serializers.serialize("json", CertificateAuthority.objects.all())


@pytest.mark.parametrize("is_null", [True, False])
def test_migrations_know_whether_a_secret_may_be_missing(is_null: bool) -> None:
    """The field in a migration is the field of the model: optional only when asked."""
    *_, kwargs = SealedField(null=is_null, blank=is_null).deconstruct()
    assert (kwargs["null"], kwargs["blank"]) == (is_null, is_null)
    clone = SealedField(null=is_null, blank=is_null).clone()
    assert (clone.null, clone.blank) == (is_null, is_null)


def test_a_place_names_model_column_and_row() -> None:
    """The place of a value is part of the stored format: changing it would lock every secret."""
    identifier = uuid.UUID(int=7)
    assert FIELD.place_at(identifier) == (
        b"localca.certificateauthority|private_key|00000000-0000-0000-0000-000000000007"
    )


@isolate_apps("localca")
def test_secrets_need_a_uuid() -> None:
    """A model whose rows are numbered on saving cannot have secrets: a system check says so."""

    class Numbered(models.Model):
        secret = SealedField()

        class Meta:
            app_label = "localca"

    field = Numbered._meta.get_field("secret")
    assert field.check() == [
        checks.Error(
            "A model with a SealedField needs a UUID primary key.",
            hint="A secret is bound to its row, which must be known before the first save.",
            obj=field,
            id="aegis.kernel.E001",
        )
    ]
