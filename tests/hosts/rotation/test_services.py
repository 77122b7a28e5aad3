"""Staging, confirming, overriding and cancelling."""

import datetime
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as QueueAway
from pytest_django import DjangoCaptureOnCommitCallbacks

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.keyring import SecretUnreadable
from hosts.expiry.timeline import expiring
from hosts.models import Host
from hosts.rotation import services
from hosts.rotation.models import Rotation, RotationSource, RotationState
from hosts.rotation.new_keys import key_like
from hosts.rotation.running import due_rotations
from hosts.rotation.services import RotationConflict, cancel, confirm, issue, probe_again, promote_refused, stage
from hosts.services import delete_host, install_issued_certificate, install_pair, update_host
from hosts.specs import HostSpec
from hosts.tasks import advance_rotation
from localca.keys import KeyType
from localca.models import CertificateAuthority, IssuedCertificate, Purpose, RevocationReason, Status
from localca.orders import Order
from localca.retirement import readiness_of
from localca.revocation import current_list
from localca.services import ensure_authority, issue_certificate, issue_client_certificate
from tests.hosts.rotation.examples import NEW, NEW_CA, OLD, again, in_use, next_step, pair, plain_host, staged
from tests.support.certificates import expired, not_yet_valid
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

ASKERS = 20


def staging(changes: UpstreamTLSChanges) -> dict[str, list[str]]:
    """The codes of the errors, by field."""
    with pytest.raises(ValidationError) as caught:
        stage(host=plain_host(), pair=changes, user=None)
    assert not Rotation.objects.exists()
    return {name: [error.code for error in errors] for name, errors in caught.value.error_dict.items()}


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        (UpstreamTLSChanges(client_certificate=NEW.chain_pem, client_key=OLD.key_pem), "client_key", "key_mismatch"),
        (UpstreamTLSChanges(client_certificate="none", client_key=NEW.key_pem), "client_certificate", "bad_pem"),
        (pair(NEW_CA.client("over", **expired())), "client_certificate", "client_certificate_not_after"),
        (pair(NEW_CA.client("later", **not_yet_valid())), "client_certificate", "client_certificate_not_before"),
        (pair(OLD), "client_certificate", "same_certificate"),
    ],
)
def test_what_cannot_be_a_candidate(changes: UpstreamTLSChanges, field: str, code: str) -> None:
    """At its field, as when it is saved; nothing is kept. A clock that is wrong is named."""
    assert staging(changes) == {f"upstream_tls.{field}": [code]}


def test_one_rotation_is_open_at_a_time() -> None:
    """The second is told which one; the database admits no second either."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    with pytest.raises(RotationConflict, match=str(rotation.pk)):
        stage(host=host, pair=pair(NEW), user=None)
    with pytest.raises(RotationConflict):
        issue(host=host, user=None)
    assert not IssuedCertificate.objects.exists()
    copy = Rotation.objects.get()
    copy.pk, copy.candidate_key, copy.previous_key = None, None, None
    copy._state.adding = True
    with pytest.raises(IntegrityError), transaction.atomic():
        copy.save(force_insert=True)


def test_a_manual_rotation_waits(django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> None:
    """Until it is confirmed, which is at once when the probe is fresh."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    assert (rotation.state, rotation.waits_for_person, in_use(host)) == ("ready", True, "CN=old identity")
    with django_capture_on_commit_callbacks(execute=True):
        confirm(rotation=rotation, user=None)
    assert (again(rotation).state, in_use(host)) == (RotationState.WATCHING, "CN=new identity")
    with pytest.raises(RotationConflict, match="ready"):
        confirm(rotation=rotation, user=None)
    with pytest.raises(RotationConflict, match="in use"):
        cancel(rotation=rotation, user=None)


def test_an_old_probe_is_repeated_before_it_is_believed() -> None:
    """It is confirmed, probed again, and then goes on without asking."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    Rotation.objects.update(probed_at=timezone.now() - datetime.timedelta(minutes=5))
    assert confirm(rotation=rotation, user=None).state == RotationState.STAGED
    assert in_use(host) == "CN=old identity"
    assert next_step(rotation).state == RotationState.WATCHING
    assert again(rotation).probe_count == 2


def test_a_host_that_was_changed_since_is_probed_again() -> None:
    """What is confirmed is what was probed."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    update_host(host=host, spec=HostSpec(websockets=False), user=None)
    assert confirm(rotation=rotation, user=None).state == RotationState.STAGED
    assert next_step(rotation).state == RotationState.WATCHING


def test_without_the_queue_the_sweep_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """It is staged all the same, and the log names no URL."""

    def away(*arguments: object) -> None:
        raise QueueAway("redis://:secret@host")

    monkeypatch.setattr(advance_rotation, "delay", away)
    with django_capture_on_commit_callbacks(execute=True):
        rotation = stage(host=plain_host(), pair=pair(NEW), user=None)
    assert "was not queued" in caplog.text
    assert "secret" not in caplog.text
    assert due_rotations(now=timezone.now()) == [rotation.pk]


def test_old_rotations_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay, and the open one."""
    monkeypatch.setattr(services, "KEPT_ROTATIONS", 2)
    host = plain_host()
    for _ in range(4):
        rotation = cancel(rotation=staged(host, is_manual=True), user=None)
    assert Rotation.objects.count() == 2
    assert Rotation.objects.first() == rotation


def test_a_successor_that_was_lost_is_renewed_on_request() -> None:
    """It was revoked, so that there is a new certificate that says the same; so it is whoever revoked it."""
    host = plain_host()
    order = Order(purpose=Purpose.CLIENT, common_name="billing", subject_alt_names=("URI:spiffe://x/billing",))
    bundle = issue_certificate(order=order, user=None)
    install_pair(host=host, chain_pem=bundle.chain_pem, key_pem=bundle.key_pem, action="installed", user=None)
    for _ in range(3):
        rotation = cancel(rotation=issue(host=host, user=None), user=None)
    assert rotation.candidate_facts[0].subject == "CN=billing"
    assert rotation.candidate_facts[0].subject_alt_names == ("URI:spiffe://x/billing",)
    assert IssuedCertificate.objects.filter(revoked_at=None).get() == bundle.record


def test_cancelling_forgets_the_key() -> None:
    """What is in use stays."""
    host = plain_host()
    rotation = cancel(rotation=staged(host, is_manual=True), user=None)
    assert (rotation.state, rotation.candidate_key, rotation.previous_key) == ("cancelled", None, None)
    assert in_use(host) == "CN=old identity"
    assert next_step(rotation).state == RotationState.CANCELLED
    assert staged(host).state == RotationState.WATCHING


def test_a_certificate_whose_key_is_forgotten_is_revoked() -> None:
    """With its rotation, by who ended that, in its CA's list; so nothing waits for it, counts it or tells its end."""
    host, user = plain_host(), User.objects.create_user("operator")
    rotation = cancel(rotation=issue(host=host, user=user), user=user)
    lost = IssuedCertificate.objects.get()
    assert (lost.status, lost.revocation_reason) == (Status.REVOKED, RevocationReason.CESSATION_OF_OPERATION)
    assert current_list(lost.authority).revocation_list.get_revoked_certificate_by_serial_number(
        int(lost.serial_number, 16)
    )
    assert AuditEntry.objects.get(action="revoked", target_id=str(lost.pk)).user == user
    assert not [found for found in expiring(now=timezone.now()) if found.model is IssuedCertificate]
    assert not readiness_of(lost.authority).certificates
    assert "revoked" not in rotation.message
    issue(host=host, user=None)
    delete_host(host=host, user=user)
    assert not IssuedCertificate.objects.filter(revoked_at=None).exists()
    assert AuditEntry.objects.filter(action="rotation_cancelled", user=user).count() == 2


def test_what_a_person_has_the_key_of_is_not_revoked() -> None:
    """It was uploaded, though the local CA issued it: whoever did may try again."""
    bundle = issue_client_certificate(common_name="theirs")
    changes = UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode())
    cancel(rotation=stage(host=plain_host(), pair=changes, user=None), user=None)
    assert IssuedCertificate.objects.get().status == Status.VALID


def test_what_a_host_still_presents_is_not_revoked() -> None:
    """Somebody replaced its chain while it was watched: the rotation is over, its certificate in use."""
    host = plain_host()
    rotation = next_step(issue(host=host, user=None))
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    longer = configuration.client_certificate + ensure_authority().certificate_pem
    UpstreamTLSConfiguration.objects.filter(host=host).update(client_certificate=longer)
    assert next_step(rotation).code == "superseded"
    assert IssuedCertificate.objects.get().status == Status.VALID


def test_probing_again() -> None:
    """What waits is probed once more."""
    rotation = staged(plain_host(), is_manual=True)
    probe_again(rotation=rotation, user=None)
    assert (next_step(rotation).state, again(rotation).probe_count) == (RotationState.READY, 2)


def test_an_override_needs_a_reason_and_a_refusal() -> None:
    """The reason is in the audit log."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    for reason in ("", "  ", "x" * 501, "a\0b"):
        with pytest.raises(ValidationError) as caught:
            promote_refused(rotation=rotation, reason=reason, user=None)
        assert list(caught.value.error_dict) == ["override_reason"]
    with pytest.raises(RotationConflict):
        promote_refused(rotation=rotation, reason="because", user=None)
    Rotation.objects.update(state="refused")
    promote_refused(rotation=rotation, reason=" the  upstream is next ", user=None)
    assert in_use(host) == "CN=new identity"
    entry = AuditEntry.objects.get(action="rotation_watching")
    assert {"field": "override_reason", "before": None, "after": "the upstream is next"} in entry.changes


def test_the_local_ca_issues_and_then_renews() -> None:
    """First a new certificate, later the successor of what is in use; each with a key of its own."""
    host = plain_host()
    next_step(issue(host=host, user=None))
    first = IssuedCertificate.objects.get()
    assert (first.subject, in_use(host)) == ("CN=orders.example.com", "CN=orders.example.com")
    Rotation.objects.all().delete()
    rotation = next_step(issue(host=host, user=None))
    second = IssuedCertificate.objects.get(renewed_from=first)
    assert rotation.candidate_fingerprint_sha256 == second.fingerprint_sha256
    assert (rotation.state, rotation.source) == (RotationState.WATCHING, RotationSource.ISSUED)
    assert second.certificate.public_key() != first.certificate.public_key()


def test_a_ca_that_cannot_sign_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key does not open: a clear error, no certificate, no rotation."""
    authority = ensure_authority()
    host = plain_host()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE localca_certificateauthority SET private_key = %s", [b"\1" * 200])
    with pytest.raises(SecretUnreadable):
        issue(host=host, user=None)
    assert not IssuedCertificate.objects.exists()
    assert not Rotation.objects.exists()
    assert CertificateAuthority.objects.get().pk == authority.pk


@pytest.mark.parametrize(
    ("key_type", "kind"),
    [
        (KeyType.EC_P384, ec.EllipticCurvePublicKey),
        (KeyType.RSA_2048, rsa.RSAPublicKey),
        (KeyType.ED25519, ed25519.Ed25519PublicKey),
    ],
)
def test_a_successor_has_a_key_of_the_same_type(key_type: KeyType, kind: Any) -> None:
    """Made before the transaction; the CA gets a signing request."""
    order = Order(purpose=Purpose.CLIENT, common_name="client", key_type=key_type)
    certificate = issue_certificate(order=order, user=None).record
    renewed = services.renewed(certificate, key_like(certificate), user=None)
    successor = IssuedCertificate.objects.get(renewed_from=certificate)
    assert isinstance(successor.certificate.public_key(), kind)
    assert renewed.client_certificate == successor.chain_pem
    assert "PRIVATE" not in repr(renewed) + repr(key_like(certificate))


@pytest.mark.django_db(transaction=True)
def test_many_who_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty ask for a new certificate of one host: one certificate, one rotation, nineteen are told of it."""
    monkeypatch.setattr(services, "go_on", lambda rotation: None)
    host = plain_host()
    install_issued_certificate(host=host, user=None)
    at_once = threading.Barrier(ASKERS, timeout=30)

    def ask(number: int) -> str:
        try:
            at_once.wait()
            return issue(host=host, user=None).state
        except RotationConflict as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(ASKERS) as pool:
        answers = sorted(pool.map(ask, range(ASKERS)))
    assert answers == ["rotation_open"] * (ASKERS - 1) + ["staged"]
    assert (IssuedCertificate.objects.count(), Rotation.objects.count()) == (2, 1)


@pytest.mark.django_db(transaction=True)
def test_a_full_disk_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database may not grow: an error, and neither certificate nor rotation."""
    if connection.vendor != "sqlite":
        pytest.skip("SQLite says how large a file may be")
    monkeypatch.setattr(services, "go_on", lambda rotation: None)
    host = plain_host()
    ensure_authority()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count")
        limit = cursor.fetchone()[0]
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
    try:
        with pytest.raises(OperationalError, match="full"):
            issue_until_it_is_full(host)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {limit}")
    # Whatever was issued belongs to a rotation: the last attempt left neither.
    assert IssuedCertificate.objects.count() == Rotation.objects.count()


def issue_until_it_is_full(host: Host) -> None:
    for _ in range(50):
        cancel(rotation=issue(host=host, user=None), user=None)
