"""The private keys of CAs: out, away, and back."""

import datetime
import json
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.keyring import SecretUnreadable
from localca.authority_keys import KeyFormat, export_key, remove_key, restore_key
from localca.bundle import trust_bundle_zip
from localca.hierarchy import HierarchyError, create_intermediate, create_root
from localca.keys import generate_key
from localca.models import CertificateAuthority, KeyMissing, RevocationReason
from localca.retirement import retire_authority
from localca.revocation import current_list, current_lists, refresh_lists, revoke_certificate, revoke_intermediate
from localca.services import ensure_authority, issue_client_certificate

pytestmark = pytest.mark.django_db

PASSPHRASE = "correct horse battery"


@pytest.fixture
def root() -> CertificateAuthority:
    """A root whose intermediate issues."""
    authority = ensure_authority()
    create_intermediate(user=None)
    return CertificateAuthority.objects.get(pk=authority.pk)


def test_an_export(root: CertificateAuthority, caplog: pytest.LogCaptureFixture) -> None:
    """PKCS#12 under the passphrase, with certificate and key; noted, and nothing secret is in the log or the entry."""
    caplog.set_level(logging.INFO)
    content = export_key(authority=root, passphrase=PASSPHRASE, user=None)
    opened = load_pkcs12(content, PASSPHRASE.encode())
    assert opened.key is not None
    assert opened.key.public_key() == root.certificate.public_key()
    assert opened.cert is not None
    assert opened.cert.certificate == root.certificate
    with pytest.raises(ValueError, match="Invalid password"):
        load_pkcs12(content, b"another")
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.target_id) == ("key exported", str(root.pk))
    assert CertificateAuthority.objects.get(pk=root.pk).key_exported_at is not None
    for text in (caplog.text, json.dumps(entry.changes)):
        assert PASSPHRASE not in text
        assert "PRIVATE KEY" not in text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command on this machine")
def test_an_export_as_pem(root: CertificateAuthority, tmp_path: Path) -> None:
    """PKCS#8 that openssl(1) opens, and that comes back."""
    content = export_key(authority=root, passphrase=PASSPHRASE, form=KeyFormat.PEM, user=None)
    assert content.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    (tmp_path / "ca.key").write_bytes(content)
    command = ["openssl", "pkey", "-in", "ca.key", "-passin", f"pass:{PASSPHRASE}", "-pubout"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    public_key = root.certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert shown == public_key.decode()
    remove_key(authority=root, user=None)
    assert restore_key(authority=root, private_key=content.decode(), passphrase=PASSPHRASE, user=None).has_key


@pytest.mark.parametrize("passphrase", ["", "x" * 11, "x" * 129])
def test_a_passphrase_has_a_length(root: CertificateAuthority, passphrase: str) -> None:
    """Too short, or too long to be opened elsewhere: refused at its field, and nothing is noted."""
    with pytest.raises(ValidationError) as raised:
        export_key(authority=root, passphrase=passphrase, user=None)
    assert raised.value.message_dict == {"passphrase": ["A passphrase has 12 to 128 characters."]}
    assert CertificateAuthority.objects.get(pk=root.pk).key_exported_at is None


def test_a_key_that_does_not_open_is_not_exported(root: CertificateAuthority, settings: Any) -> None:
    """The reason is told; nothing says that it was exported."""
    settings.AEGIS_SSL_KEY = "ab" * 32
    with pytest.raises(SecretUnreadable):
        export_key(authority=root, passphrase=PASSPHRASE, user=None)
    assert CertificateAuthority.objects.get(pk=root.pk).key_exported_at is None


def test_an_exported_key_can_be_removed(root: CertificateAuthority) -> None:
    """Leafs are issued and revoked as before; the root's last list lasts as long as the root."""
    export_key(authority=root, passphrase=PASSPHRASE, user=None)
    removed = remove_key(authority=root, user=None)
    assert not removed.has_key
    assert not CertificateAuthority.objects.get(pk=root.pk).has_key
    last = current_list(removed)
    assert (last.number, last.next_update) == (2, root.facts.not_after)
    bundle = issue_client_certificate(common_name="orders")
    revoke_certificate(certificate=bundle.record, reason=RevocationReason.SUPERSEDED, user=None)
    with time_machine.travel(last.this_update.replace(year=last.this_update.year + 1), tick=False):
        assert refresh_lists() == 1, "the intermediate's"
        assert [found.number for found in current_lists()] == [3, 2]
    for act in (lambda: create_intermediate(user=None), lambda: remove_key(authority=root, user=None)):
        with pytest.raises(KeyMissing, match="is not stored here"):
            act()


def test_a_root_without_key_that_is_over_stands_in_nobodys_way(root: CertificateAuthority) -> None:
    """Its list is over with it. That of the root which took over, and the bundle, are handed out as before."""
    remove_key(authority=root, confirmation=str(root), user=None)
    with time_machine.travel(root.facts.not_after - datetime.timedelta(days=2), tick=False):
        new = create_root(user=None)
    with time_machine.travel(root.facts.not_after + datetime.timedelta(days=1), tick=False):
        assert new in [found.authority for found in current_lists()]
        assert root not in [found.authority for found in current_lists()]
        assert trust_bundle_zip()


def test_the_key_of_a_root_that_is_over_can_be_removed(root: CertificateAuthority) -> None:
    """A list has to end after it was made, whatever became of the root."""
    with time_machine.travel(root.facts.not_after + datetime.timedelta(days=1), tick=False):
        assert not remove_key(authority=root, confirmation=str(root), user=None).has_key


def test_a_key_that_was_never_exported_needs_its_cas_name(root: CertificateAuthority) -> None:
    """Nobody could have it again, so the name is typed."""
    for confirmation in ("", "yes", f"{root} "):
        with pytest.raises(ValidationError) as raised:
            remove_key(authority=root, confirmation=confirmation, user=None)
        assert raised.value.error_dict["confirmation"][0].code == "not_exported"
    assert not remove_key(authority=root, confirmation=str(root), user=None).has_key


def test_a_key_that_is_needed_stays() -> None:
    """That of the CA that issues, of an intermediate, and of a root whose successor issues."""
    root = ensure_authority()
    intermediate = create_intermediate(user=None)
    new = create_root(user=None)
    for authority in (root, intermediate, new):
        with pytest.raises(HierarchyError) as raised:
            remove_key(authority=authority, confirmation=str(authority), user=None)
        assert raised.value.code == "still_needed"
    assert CertificateAuthority.objects.filter(private_key=None).count() == 0


def test_keys_of_cas_that_are_over_can_go() -> None:
    """A retired root's, its intermediate's and a revoked one's; each leaves a list that lasts as long as its CA."""
    root = ensure_authority()
    first, second = create_intermediate(user=None), create_intermediate(user=None)
    revoke_intermediate(authority=first, reason=RevocationReason.SUPERSEDED, user=None)
    create_root(user=None)
    retire_authority(authority=root, user=None)
    for authority in (root, first, second):
        removed = remove_key(authority=authority, confirmation=str(authority), user=None)
        assert not removed.has_key
        assert current_list(removed).next_update == authority.facts.not_after


def test_a_key_that_opens_no_more_goes_with_its_ca(settings: Any) -> None:
    """Once it stood in the way of every start for good; a list of who is over nobody needs."""
    root = ensure_authority()
    create_root(user=None)
    retire_authority(authority=root, user=None)
    settings.AEGIS_SSL_KEY = "ab" * 32
    assert not remove_key(authority=root, confirmation=str(root), user=None).has_key


def test_a_key_that_does_not_open_is_not_removed(root: CertificateAuthority, settings: Any) -> None:
    """No last list could be signed, and peers would refuse everybody a week later."""
    settings.AEGIS_SSL_KEY = "ab" * 32
    with pytest.raises(SecretUnreadable):
        remove_key(authority=root, confirmation=str(root), user=None)
    assert CertificateAuthority.objects.get(pk=root.pk).has_key


def test_a_key_comes_back(root: CertificateAuthority) -> None:
    """From an encrypted PEM file; then the root issues an intermediate again."""
    key = root.issuer().key
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())).decode()
    with pytest.raises(HierarchyError, match="is stored here already"):
        restore_key(authority=root, private_key=pem, passphrase=PASSPHRASE, user=None)
    remove_key(authority=root, confirmation=str(root), user=None)
    other = generate_key().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
    )
    with pytest.raises(ValidationError, match="This is not the key of"):
        restore_key(authority=root, private_key=other.decode(), passphrase=PASSPHRASE, user=None)
    assert restore_key(authority=root, private_key=pem, passphrase=PASSPHRASE, user=None).has_key
    assert create_intermediate(user=None).parent == root
    assert AuditEntry.objects.filter(action="key restored", target_id=root.pk).exists()
