"""Taking certificates back: what the list says, when there is a new one, and who believes it."""

import datetime
import http.client
import shutil
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from localca.authority_keys import remove_key
from localca.hierarchy import create_intermediate
from localca.models import (
    CertificateAuthority,
    IssuedCertificate,
    KeyMissing,
    RevocationList,
    RevocationReason,
)
from localca.revocation import (
    RevocationError,
    current_list,
    current_lists,
    is_named,
    lock_authority,
    publish_list,
    refresh_lists,
    revoke_certificate,
    revoke_intermediate,
)
from localca.services import IssuedBundle, ensure_authority, issue_client_certificate
from tests.support.certificates import Authority
from tests.support.database import Installation, finished
from tests.support.nginx import Nginx

DAY = datetime.timedelta(days=1)
WRITERS = 20


def revoke(bundle: IssuedBundle, reason: RevocationReason = RevocationReason.SUPERSEDED) -> IssuedCertificate:
    return revoke_certificate(certificate=bundle.record, reason=reason, user=None)


def named(revocation_list: RevocationList) -> dict[int, x509.ReasonFlags | None]:
    """Serial numbers on a list, with their reasons."""
    reasons = {}
    for entry in revocation_list.revocation_list:
        try:
            reasons[entry.serial_number] = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            reasons[entry.serial_number] = None
    return reasons


@pytest.mark.django_db
def test_a_new_ca_has_an_empty_list() -> None:
    """From its first moment a CA has a list; reading it makes no other."""
    authority = ensure_authority()
    first = current_list(authority)
    assert (first.number, named(first)) == (1, {})
    assert first.next_update - timezone.now() > 6 * DAY
    assert current_list(authority) == first


@pytest.mark.django_db
def test_a_ca_from_before_there_were_lists_gets_one() -> None:
    """Without any list, the first who asks has it made."""
    authority = ensure_authority()
    RevocationList.objects.all().delete()
    assert current_list(authority).number == 1


@pytest.mark.django_db
def test_revoking() -> None:
    """The next list names the certificate and the reason, and replaces the one before; the audit log has it."""
    user = User.objects.create_user("alice")
    kept, lost = issue_client_certificate(common_name="kept"), issue_client_certificate(common_name="lost")
    revoked = revoke_certificate(certificate=lost.record, reason=RevocationReason.KEY_COMPROMISE, user=user)
    assert (revoked.status, revoked.revocation_reason) == ("revoked", "keyCompromise")
    published = RevocationList.objects.get()
    assert published.number == 2
    assert published.revocation_list.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    assert named(published) == {int(lost.record.serial_number, 16): x509.ReasonFlags.key_compromise}
    assert IssuedCertificate.objects.get(pk=kept.record.pk).status == "valid"
    entry = AuditEntry.objects.get(action="revoked")
    assert (entry.user_name, entry.target_type, entry.target_id) == ("alice", "certificate", str(lost.record.pk))
    changes = {change["field"]: change["after"] for change in entry.changes}
    assert set(changes) == {"revoked_at", "revocation_reason"}
    assert changes["revocation_reason"] == "keyCompromise"


@pytest.mark.django_db
def test_without_a_reason_the_entry_has_none() -> None:
    """RFC 5280 section 5.3.1: unspecified is said by saying nothing."""
    bundle = issue_client_certificate(common_name="orders")
    revoke(bundle, RevocationReason.UNSPECIFIED)
    assert named(current_list(ensure_authority())) == {int(bundle.record.serial_number, 16): None}


@pytest.mark.django_db
@pytest.mark.parametrize("reason", RevocationReason)
def test_every_reason_can_be_signed(reason: RevocationReason) -> None:
    """Each reason that may be chosen is one of X.509's."""
    revoke(issue_client_certificate(common_name="orders"), reason)
    signed = next(iter(named(current_list(ensure_authority())).values()))
    assert (signed or x509.ReasonFlags.unspecified) == x509.ReasonFlags(reason)


@pytest.mark.django_db
def test_a_certificate_is_revoked_once() -> None:
    """The second attempt is refused and changes neither reason nor list."""
    bundle = issue_client_certificate(common_name="orders")
    revoke(bundle, RevocationReason.SUPERSEDED)
    with pytest.raises(RevocationError) as raised:
        revoke(bundle, RevocationReason.KEY_COMPROMISE)
    assert raised.value.code == "already_revoked"
    assert IssuedCertificate.objects.get().revocation_reason == "superseded"
    assert RevocationList.objects.get().number == 2


@pytest.mark.django_db
def test_an_expired_certificate_is_not_revoked() -> None:
    """Nobody accepts it any more, so a list has nothing to say about it."""
    bundle = issue_client_certificate(common_name="orders")
    with time_machine.travel(bundle.record.not_after, tick=False), pytest.raises(RevocationError) as raised:
        revoke(bundle)
    assert raised.value.code == "certificate_expired"


@pytest.mark.django_db
def test_a_ca_that_cannot_sign_revokes_nothing(settings: Any) -> None:
    """A list that cannot be signed leaves the certificate as it was; the list before stays."""
    bundle = issue_client_certificate(common_name="orders")
    settings.AEGIS_SSL_KEY = "2e" * 32
    with pytest.raises(SecretUnreadable):
        revoke(bundle)
    assert IssuedCertificate.objects.get().status == "valid"
    assert current_list(ensure_authority()).number == 1
    assert not AuditEntry.objects.filter(action="revoked").exists()


@pytest.mark.django_db
def test_a_list_signed_with_another_key_is_not_published() -> None:
    """A CA row whose key is not its certificate's signs no list."""
    bundle = issue_client_certificate(common_name="orders")
    authority = ensure_authority()
    authority.private_key = Sealed.of(bundle.key_pem)
    authority.save()
    with pytest.raises(RevocationError, match="the CA's key is not the one of its certificate") as raised:
        revoke(bundle)
    assert raised.value.code == "signing_failed"


@pytest.mark.django_db
def test_an_overdue_list_is_replaced_when_asked_for() -> None:
    """Up to its end the list is the same; from then on, the first who asks gets the next one."""
    authority = ensure_authority()
    end = current_list(authority).next_update
    with time_machine.travel(end - datetime.timedelta(seconds=1), tick=False):
        assert current_list(authority).number == 1
    with time_machine.travel(end, tick=False):
        assert current_list(authority).number == 2
        assert current_list(authority).number == 2
    assert RevocationList.objects.count() == 1


@pytest.mark.django_db
def test_the_sweep_makes_a_list_a_day() -> None:
    """A list of today stays, a day later there is a new one, and a CA that has expired gets none."""
    authority = ensure_authority()
    assert refresh_lists() == 0
    with time_machine.travel(timezone.now() + DAY, tick=False):
        assert refresh_lists() == 1
        assert refresh_lists() == 0
        assert current_list(authority).number == 2
    with time_machine.travel(authority.facts.not_after, tick=False):
        assert refresh_lists() == 0


@pytest.mark.django_db
def test_the_sweep_goes_on_past_a_ca_that_cannot_sign() -> None:
    """The other CA has its list; the error is raised for the log."""
    good = ensure_authority()
    CertificateAuthority.objects.create(
        certificate_pem=good.certificate_pem, is_active=False, private_key=Sealed.of(b"no key")
    )
    bad = CertificateAuthority.objects.get(is_active=False)
    CertificateAuthority.objects.filter(pk=bad.pk).update(private_key=good.private_key.blob)
    with time_machine.travel(timezone.now() + DAY, tick=False), pytest.raises(SecretUnreadable):
        refresh_lists()
    assert current_list(good).number == 2


@pytest.mark.django_db
def test_an_entry_stays_until_a_list_past_the_end_had_it() -> None:
    """RFC 5280 section 3.3: the first list after the certificate's end still names it, the one after that does not."""
    bundle = issue_client_certificate(common_name="orders")
    serial = int(bundle.record.serial_number, 16)
    revoked = revoke(bundle)
    authority = ensure_authority()
    seen = []
    for days in (-1, 1, 2):
        with time_machine.travel(bundle.record.not_after + days * DAY, tick=False):
            refresh_lists()
            seen.append((serial in named(current_list(authority)), is_named(revoked)))
    assert seen == [(True, True), (True, False), (False, False)]


@pytest.mark.django_db
def test_a_number_is_given_once() -> None:
    """The database refuses a second list with the number of another, and lists that end before they begin."""
    latest = current_list(ensure_authority())
    values = {"authority": latest.authority, "der": b"", "this_update": latest.this_update}
    with pytest.raises(IntegrityError), transaction.atomic():
        RevocationList.objects.create(number=latest.number, next_update=latest.next_update, **values)
    with pytest.raises(IntegrityError), transaction.atomic():
        RevocationList.objects.create(number=7, next_update=latest.this_update, **values)


@pytest.mark.django_db(transaction=True)
def test_many_who_revoke_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty threads revoke twenty certificates: twenty numbers, none twice, and the last list names them all."""
    bundles = [issue_client_certificate(common_name=f"client-{number}") for number in range(WRITERS)]
    numbers: list[int] = []
    monkeypatch.setattr(
        "localca.revocation.publish_list", lambda authority: numbers.append(publish_list(authority).number)
    )
    at_once = threading.Barrier(WRITERS, timeout=30)

    def revoke_one(bundle: IssuedBundle) -> None:
        try:
            at_once.wait()
            revoke(bundle)
        finally:
            connection.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(revoke_one, bundles))
    assert numbers == list(range(2, WRITERS + 2))
    published = RevocationList.objects.get()
    assert published.number == WRITERS + 1
    assert set(named(published)) == {int(bundle.record.serial_number, 16) for bundle in bundles}


ASKER = """
from localca.revocation import current_list
from localca.selectors import active_authority
authority = active_authority()
print("ready", flush=True)
sys.stdin.readline()
print(current_list(authority).number, flush=True)
"""


def test_processes_that_miss_a_list_at_once_make_one(tmp_path: Path, django_db_setup: None) -> None:
    """Four processes find no list at the same moment: one makes it, all return it."""
    installation = Installation(tmp_path)
    prepare = (
        "from localca.services import *; from localca.models import *; "
        "ensure_authority(); RevocationList.objects.update(next_update='2020-01-02', this_update='2020-01-01')"
    )
    finished(installation.start("import warnings; warnings.simplefilter('ignore'); " + prepare))
    assert installation.race(ASKER, runners=["1", "2", "3"]) == ["2\n"] * 3


@pytest.mark.django_db
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command on this machine")
def test_openssl_believes_the_list(tmp_path: Path) -> None:
    """In strict mode OpenSSL accepts the certificate that was kept and refuses the one that was revoked."""
    kept, lost = issue_client_certificate(common_name="kept"), issue_client_certificate(common_name="lost")
    revoke(lost, RevocationReason.KEY_COMPROMISE)
    (tmp_path / "ca.crt").write_text(ensure_authority().certificate_pem)
    (tmp_path / "ca.crl").write_text(current_list(ensure_authority()).pem)
    (tmp_path / "kept.crt").write_text(kept.chain_pem)
    (tmp_path / "lost.crt").write_text(lost.chain_pem)

    def verify(name: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", "verify", "-x509_strict", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "ca.crl", name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    accepted = verify("kept.crt")
    assert (accepted.returncode, accepted.stdout) == (0, "kept.crt: OK\n"), accepted.stderr
    refused = verify("lost.crt")
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr
    command = ["openssl", "crl", "-in", "ca.crl", "-noout", "-crlnumber", "-CAfile", "ca.crt"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(shown.stdout.strip().removeprefix("crlNumber="), 16) == 2
    assert "verify OK" in shown.stderr


@pytest.mark.django_db
def test_nginx_refuses_a_revoked_client(tmp_path: Path) -> None:
    """A real nginx with ssl_crl lets the one client in and answers the revoked one with 400."""
    kept, lost = issue_client_certificate(common_name="kept"), issue_client_certificate(common_name="lost")
    revoke(lost)
    authority = ensure_authority()
    upstream_ca = Authority("upstream CA")
    with Nginx(
        tmp_path / "nginx",
        server=upstream_ca.server("localhost"),
        client_ca_pem=authority.certificate_pem,
        crl_pem=current_list(authority).pem,
    ) as nginx:
        assert _status(nginx.port, kept, tmp_path, upstream_ca) == 200
        assert _status(nginx.port, lost, tmp_path, upstream_ca) == 400
        assert "certificate revoked" in nginx.log


def _status(port: int, bundle: IssuedBundle, directory: Path, upstream_ca: Authority) -> int:
    pair = directory / f"{bundle.record.pk}.pem"
    pair.write_bytes(bundle.key_pem + bundle.chain_pem.encode())
    context = ssl.create_default_context(cadata=upstream_ca.pem)
    context.load_cert_chain(pair)
    connection_to_nginx = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        connection_to_nginx.request("GET", "/")
        return connection_to_nginx.getresponse().status
    finally:
        connection_to_nginx.close()


@pytest.mark.django_db
def test_whoever_signs_holds_the_ca() -> None:
    """Within a transaction the locked CA signs the number after the latest."""
    authority = ensure_authority()
    with transaction.atomic():
        assert publish_list(lock_authority(authority.pk)).number == 2


@pytest.mark.django_db
def test_an_intermediate_is_revoked_by_its_root() -> None:
    """Not a root, not the one that issues, not twice, not an expired one; the root's next list names it."""
    root = ensure_authority()
    first = create_intermediate(user=None)

    def refusal(authority: CertificateAuthority) -> str:
        with pytest.raises(RevocationError) as raised:
            revoke_intermediate(authority=authority, reason=RevocationReason.KEY_COMPROMISE, user=None)
        return raised.value.code

    assert (refusal(root), refusal(first)) == ("is_root", "is_active")
    second = create_intermediate(user=None)
    revoke_intermediate(authority=first, reason=RevocationReason.KEY_COMPROMISE, user=None)
    assert named(current_list(root)) == {first.certificate.serial_number: x509.ReasonFlags.key_compromise}
    assert refusal(first) == "already_revoked"
    assert [found.authority for found in current_lists()] == [second, root], "its own list is nobody's business now"
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.target_id) == ("revoked", str(first.pk))
    create_intermediate(user=None)
    with time_machine.travel(second.facts.not_after, tick=False):
        assert refusal(CertificateAuthority.objects.get(pk=second.pk)) == "certificate_expired"


@pytest.mark.django_db
def test_an_intermediate_whose_root_has_no_key_is_not_revoked() -> None:
    """The key has to come back first; nothing says that it was revoked."""
    root = ensure_authority()
    first = create_intermediate(user=None)
    create_intermediate(user=None)
    remove_key(authority=root, confirmation=str(root), user=None)
    with pytest.raises(KeyMissing, match="is not stored here, so it cannot sign"):
        revoke_intermediate(authority=first, reason=RevocationReason.SUPERSEDED, user=None)
    assert CertificateAuthority.objects.get(pk=first.pk).revoked_at is None


@pytest.mark.django_db
def test_the_daily_sweep_makes_the_lists_of_all() -> None:
    """Root and intermediate; once a day each."""
    root = ensure_authority()
    intermediate = create_intermediate(user=None)
    with time_machine.travel(timezone.now() + 2 * DAY, tick=False):
        assert refresh_lists() == 2
        assert refresh_lists() == 0
        assert (current_list(root).number, current_list(intermediate).number) == (2, 2)
