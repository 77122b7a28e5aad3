"""`manage.py import_hosts`."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from aegis_site.kernel.audit.models import AuditEntry, Origin
from hosts.exchange.reading import Format, write_document
from hosts.exchange.sealing import PassphraseSealer
from hosts.models import Host
from tests.hosts.examples import LEAF, OTHER_LEAF, make_host, mtls
from tests.hosts.exchange.examples import PASSPHRASE, entry, exported, make_secretive_host

pytestmark = pytest.mark.django_db


def imported(file: Path, document: dict[str, Any], **options: Any) -> str:
    file.write_text(write_document(document, Format.of_file_name(file.name)))
    out = StringIO()
    call_command("import_hosts", str(file), stdout=out, **options)
    return out.getvalue()


def test_a_readable_difference(tmp_path: Path) -> None:
    """One line for each host that changes and each field; a dry run changes nothing."""
    make_host(upstream_tls=mtls())
    make_host("gone")
    document = exported()
    del document["hosts"][0]
    (orders,) = document["hosts"]
    orders["enabled"] = False
    orders["upstream_tls"] |= {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    document["hosts"].append(entry("new"))
    text = imported(tmp_path / "hosts.json", document, dry_run=True, on_missing="delete")
    assert text.splitlines() == [
        "~ orders",
        "    enabled: True -> False",
        "    upstream_tls.client_certificate: "
        f"{' '.join(LEAF.chain_pem.split())[:59]}… -> {' '.join(OTHER_LEAF.chain_pem.split())[:59]}…",
        "    upstream_tls.client_key: •••••• -> ••••••",
        "+ new",
        "- gone",
        "Would be: 1 created, 1 changed, 0 unchanged, 1 deleted, 0 failed.",
    ]
    assert Host.objects.count() == 2


def test_sealed_secrets_and_a_name_for_the_history(tmp_path: Path, admin_user: User) -> None:
    """The passphrase is read from a file."""
    make_secretive_host()
    document = exported(sealer=PassphraseSealer.for_export(PASSPHRASE))
    Host.objects.all().delete()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    text = imported(tmp_path / "hosts.yaml", document, passphrase_file=str(passphrase), user="admin")
    assert text == "+ orders\n1 created, 0 changed, 0 unchanged, 0 deleted, 0 failed.\n"
    assert Host.objects.get().upstream_tls.client_key.reveal().decode() == LEAF.key_pem
    noted = AuditEntry.objects.get(action="imported")
    assert (noted.user, noted.origin, noted.target_name) == (admin_user, Origin.COMMAND, "1 created")


def test_errors(tmp_path: Path) -> None:
    """All of them, and nothing is changed; a dry run says that it would be refused."""
    document = {"aegis_export": 1, "hosts": [entry("a"), entry("b", domains=[])]}
    with pytest.raises(CommandError, match=r"nothing was changed:\n  hosts\[1\].domains: Enter at least one domain."):
        imported(tmp_path / "hosts.yaml", document)
    with pytest.raises(CommandError, match="would be refused"):
        imported(tmp_path / "hosts.yaml", document, dry_run=True)
    assert not Host.objects.exists()


def test_deleting_needs_the_number(tmp_path: Path) -> None:
    """Which the error tells."""
    make_host("a")
    document: dict[str, Any] = {"aegis_export": 1, "hosts": []}
    with pytest.raises(CommandError, match="delete_count: 1 host is not in the document"):
        imported(tmp_path / "hosts.yaml", document, on_missing="delete")
    imported(tmp_path / "hosts.yaml", document, on_missing="delete", delete_count=1)
    assert not Host.objects.exists()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Neither file, nor text, nor user."""
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_hosts", str(tmp_path / "absent"))
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    with pytest.raises(CommandError, match="This is not JSON"):
        call_command("import_hosts", str(bad))
    with pytest.raises(CommandError, match="no active user 'nobody'"):
        call_command("import_hosts", str(bad), user="nobody")
