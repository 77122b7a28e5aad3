"""Creating the CA once, and issuing from it."""

import datetime
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection

from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.notifications.models import NotedEvent
from localca import services
from localca.models import CertificateAuthority, IssuedCertificate
from localca.services import (
    IssuanceError,
    delete_certificate,
    ensure_authority,
    issue_client_certificate,
    issue_server_certificate,
    renew_certificate,
)
from tests.support.database import Installation, finished

PROCESSES = 3
MANY_PROCESSES = 20

# Every process has found that there is no CA before the first of them stores one.
RACER = """
from localca import profiles, services
build_root = profiles.build_root
def build_root_and_wait(**arguments):
    root = build_root(**arguments)
    print("ready", flush=True)
    sys.stdin.readline()
    return root
profiles.build_root = build_root_and_wait
authority = services.ensure_authority()
assert authority.private_key.reveal().startswith(b"-----BEGIN PRIVATE KEY-----")
print(authority.pk, authority.facts.fingerprint_sha256, flush=True)
"""


@pytest.mark.parametrize("processes", [PROCESSES, pytest.param(MANY_PROCESSES, marks=pytest.mark.soak)])
def test_processes_that_start_at_once_share_one_ca(tmp_path: Path, django_db_setup: None, processes: int) -> None:
    """Processes that all found no CA end up with the same one, and there is one row."""
    installation = Installation(tmp_path)
    answers = installation.race(RACER, runners=[str(number) for number in range(processes)])
    assert len(set(answers)) == 1
    count = "from localca.models import *; print(CertificateAuthority.objects.count())"
    assert finished(installation.start(count)) == "1\n"


@pytest.mark.django_db
def test_the_ca_is_created_once() -> None:
    """The first call creates the CA, later calls return it; its key is sealed."""
    first = ensure_authority()
    assert ensure_authority() == first
    assert CertificateAuthority.objects.count() == 1
    assert str(first) == f"Aegis Local CA {first.pk.hex[:8]}"
    stored = CertificateAuthority.objects.get()
    key = load_pem_private_key(stored.private_key.reveal(), password=None)
    assert key.public_key() == stored.certificate.public_key()


@pytest.mark.django_db
def test_the_loser_of_a_race_takes_the_winners_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds no CA but cannot store one, because another was faster, returns that one."""
    winner = ensure_authority()
    answers = iter([None, winner])
    monkeypatch.setattr(services, "active_authority", lambda: next(answers))
    assert ensure_authority() == winner
    assert CertificateAuthority.objects.count() == 1


@pytest.mark.django_db
def test_another_integrity_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An insert that fails without there being a CA stays an error."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise IntegrityError("something else")

    monkeypatch.setattr(CertificateAuthority, "save", refuse)
    with pytest.raises(IntegrityError, match="something else"):
        ensure_authority()


@pytest.mark.django_db
def test_a_client_certificate() -> None:
    """The bundle has a leaf with its key; the record has everything but the key."""
    bundle = issue_client_certificate(common_name="orders.example.com", issued_for="host orders")
    record = IssuedCertificate.objects.get()
    assert bundle.record == record
    assert bundle.chain_pem == record.certificate_pem
    assert (record.purpose, record.subject, record.issued_for) == ("client", "CN=orders.example.com", "host orders")
    assert record.authority == ensure_authority()
    leaf = x509.load_pem_x509_certificate(bundle.chain_pem.encode())
    assert load_pem_private_key(bundle.key_pem, password=None).public_key() == leaf.public_key()
    facts = record.facts
    assert facts.subject_alt_names == ("DNS:orders.example.com",)
    assert (record.serial_number, record.fingerprint_sha256) == (facts.serial_number, facts.fingerprint_sha256)
    assert (record.not_before, record.not_after) == (facts.not_before, facts.not_after)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("common_name", "subject_alt_name"),
    [
        ("orders", "DNS:orders"),
        ("*.orders.example.com", "DNS:*.orders.example.com"),
        ("10.0.0.7", "IP:10.0.0.7"),
        ("2001:db8::7", "IP:2001:db8::7"),
        ("Orders, backend", "URI:urn:uuid:"),
    ],
)
def test_every_client_certificate_has_a_subject_alt_name(common_name: str, subject_alt_name: str) -> None:
    """The common name when it is a DNS name or an address, else the record's identifier."""
    record = issue_client_certificate(common_name=common_name).record
    expected = subject_alt_name + (str(record.pk) if subject_alt_name.startswith("URI") else "")
    assert record.facts.subject_alt_names == (expected,)


@pytest.mark.django_db
def test_a_server_certificate() -> None:
    """A server certificate carries the names that were asked for."""
    names = ["DNS:upstream.internal", "IP:127.0.0.1"]
    record = issue_server_certificate(common_name="upstream", subject_alt_names=names, issued_for="demo").record
    assert (record.purpose, record.issued_for) == ("server", "demo")
    assert record.facts.subject_alt_names == tuple(names)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "errors"),
    [
        ({"common_name": ""}, {"common_name": ["Enter a common name."]}),
        ({"common_name": "orders", "issued_for": "a\nb"}, {"issued_for": ["Printable characters only."]}),
        (
            {"common_name": "orders", "issued_for": "x" * 256},
            {"issued_for": ["Ensure this value has at most 255 characters (it has 256)."]},
        ),
    ],
)
def test_bad_requests_for_client_certificates(arguments: dict[str, str], errors: dict[str, list[str]]) -> None:
    """What cannot be issued is refused at its field, and nothing is recorded."""
    with pytest.raises(ValidationError) as raised:
        issue_client_certificate(**arguments)
    assert raised.value.message_dict == errors
    assert not IssuedCertificate.objects.exists()


@pytest.mark.django_db
def test_bad_requests_for_server_certificates() -> None:
    """Bad names are refused at their field."""
    with pytest.raises(ValidationError) as raised:
        issue_server_certificate(common_name="x", subject_alt_names=["DNS:8.8.8.8"])
    assert raised.value.message_dict == {"subject_alt_names": ["'8.8.8.8' is not a DNS name."]}


@pytest.mark.django_db
def test_an_expired_ca_issues_nothing() -> None:
    """After its ten years the CA refuses, with a reason that may be shown."""
    authority = ensure_authority()
    with (
        time_machine.travel(authority.facts.not_after + datetime.timedelta(seconds=1), tick=False),
        pytest.raises(IssuanceError) as raised,
    ):
        issue_client_certificate(common_name="orders")
    assert raised.value.code == "issuance_failed"
    assert raised.value.message == (
        "The local CA cannot issue this certificate: the CA's own certificate is not valid at this time: "
        f"CN={authority} ended {authority.facts.not_after:%Y-%m-%d %H:%M} UTC."
    )
    assert not IssuedCertificate.objects.exists()


@pytest.mark.django_db
def test_a_ca_key_that_does_not_open_issues_nothing(settings: Any) -> None:
    """With another AEGIS_SSL_KEY the CA cannot sign; the error names the reason."""
    ensure_authority()
    settings.AEGIS_SSL_KEY = "2e" * 32
    with pytest.raises(SecretUnreadable, match="not in AEGIS_SSL_KEY"):
        issue_client_certificate(common_name="orders")
    assert not IssuedCertificate.objects.exists()


@pytest.mark.django_db
def test_a_ca_whose_certificate_and_key_differ_issues_nothing() -> None:
    """The proof catches a CA row whose key is not its certificate's."""
    authority = ensure_authority()
    other = issue_client_certificate(common_name="other")
    authority.private_key = Sealed.of(other.key_pem)
    authority.save()
    with pytest.raises(IssuanceError, match="its issuer did not sign it"):
        issue_client_certificate(common_name="orders")


@pytest.mark.django_db
def test_keys_show_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the repr of a bundle nor the log has a private key; the log names what was issued."""
    caplog.set_level(logging.INFO)
    bundle = issue_client_certificate(common_name="orders.example.com")
    body = bundle.key_pem.decode().splitlines()[1]
    assert body not in repr(bundle)
    assert body not in caplog.text
    assert (
        f"issued client certificate CN=orders.example.com, serial number {bundle.record.serial_number}" in caplog.text
    )


@pytest.mark.django_db(transaction=True)
def test_the_database_file_holds_no_private_key(settings: Any) -> None:
    """The SQLite file and its write-ahead log contain neither the CA's key nor an issued one, as PEM or DER."""
    issued = issue_client_certificate(common_name="orders.example.com")
    secrets = [ensure_authority().private_key.reveal(), issued.key_pem]
    path = Path(settings.DATABASES["default"]["TEST"]["NAME"])
    candidates = [candidate for candidate in path.parent.glob(f"{path.stem}*") if candidate.is_file()]
    raw = b"".join(candidate.read_bytes() for candidate in candidates)
    assert issued.record.certificate_pem.splitlines()[1].encode() in raw, "the rows are in these files"
    for pem in secrets:
        key = load_pem_private_key(pem, password=None)
        private_number = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        assert pem.splitlines()[1] not in raw
        assert private_number not in raw


@pytest.mark.django_db
def test_deleting_leaves_the_successor() -> None:
    """Forgetting an expired certificate does not touch what it was renewed by."""
    old = issue_client_certificate(common_name="orders").record
    new = renew_certificate(certificate=old, user=None).record
    with time_machine.travel(old.not_after, tick=False):
        delete_certificate(certificate=old, user=None)
    assert IssuedCertificate.objects.get() == new
    assert IssuedCertificate.objects.get().renewed_from is None


@pytest.mark.django_db
def test_a_renewal_is_told() -> None:
    """With what becomes of the old certificate."""
    old = issue_client_certificate(common_name="orders").record
    new = renew_certificate(certificate=old, revoke_old=True, user=None).record
    event = NotedEvent.objects.get()
    assert (event.kind, event.title) == ("rotation", "The certificate CN=orders was renewed")
    assert event.text == "The old one is revoked."
    assert event.path == f"/admin/localca/issuedcertificate/{new.pk}/change/"


@pytest.mark.django_db(transaction=True)
def test_many_who_renew_at_once() -> None:
    """Of eight threads one renews, the others are told so; there is one successor."""
    old = issue_client_certificate(common_name="orders").record
    at_once = threading.Barrier(8, timeout=30)

    def renew(_: int) -> str:
        try:
            certificate = IssuedCertificate.objects.get(pk=old.pk)
            at_once.wait()
            renew_certificate(certificate=certificate, user=None)
        except IssuanceError as error:
            return error.code
        finally:
            connection.close()
        return "renewed"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(renew, range(8)))
    assert outcomes == ["already_renewed"] * 7 + ["renewed"]
    assert IssuedCertificate.objects.filter(renewed_from=old).count() == 1
