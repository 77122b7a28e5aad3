"""`manage.py export_hosts`."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from aegis_site.kernel.audit.models import AuditEntry, Origin
from hosts.exchange.reading import Format, read_document
from tests.hosts.examples import LEAF
from tests.hosts.exchange.examples import PASSPHRASE, TOKEN, make_secretive_host

pytestmark = pytest.mark.django_db

CANARIES = (LEAF.key_pem.splitlines()[2], TOKEN, PASSPHRASE)


def exported(**options: str) -> str:
    out = StringIO()
    call_command("export_hosts", stdout=out, **options)
    return out.getvalue()


def test_to_standard_output() -> None:
    """YAML, and JSON when asked for; without secrets."""
    make_secretive_host()
    document = read_document(exported().encode(), Format.YAML)
    assert document["hosts"] == json.loads(exported(format="json"))["hosts"]
    assert not [canary for canary in CANARIES if canary in exported()]


@pytest.mark.parametrize(("name", "form"), [("hosts.yaml", Format.YAML), ("hosts.json", Format.JSON)])
def test_to_a_file(tmp_path: Path, name: str, form: Format) -> None:
    """In the format of its name, for nobody else's eyes, also when others could read what was there before."""
    make_secretive_host()
    file = tmp_path / name
    file.write_text("old")
    file.chmod(0o644)
    assert exported(output=str(file)) == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_document(file.read_bytes(), form)["hosts"][0]["name"] == "orders"
    assert list(tmp_path.iterdir()) == [file]


def test_sealed_secrets(tmp_path: Path) -> None:
    """Noted in the audit log as done by a command."""
    make_secretive_host()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    text = exported(passphrase_file=str(passphrase))
    assert text.count("_sealed: ") == 3
    assert not [canary for canary in CANARIES if canary in text]
    noted = AuditEntry.objects.get(action="exported")
    assert (noted.origin, noted.target_name) == (Origin.COMMAND, "1 host with sealed secrets")


def test_what_cannot_be_done(tmp_path: Path) -> None:
    """Is said, and leaves no file."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("short")
    with pytest.raises(CommandError, match="at least 15 characters"):
        exported(passphrase_file=str(passphrase), output=str(tmp_path / "x"))
    with pytest.raises(CommandError, match="cannot be written"):
        exported(output=str(tmp_path / "absent" / "x"))
    assert list(tmp_path.iterdir()) == [passphrase]
