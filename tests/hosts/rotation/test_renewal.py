"""Certificates of the local CA are renewed before they end."""

import datetime
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import time_machine
from django.db import DatabaseError, connection
from django.db.models import Case, When

from aegis_site.kernel.notifications.models import NotedEvent
from hosts.models import Host
from hosts.rotation import renewal, services
from hosts.rotation.models import Rotation, RotationSource, RotationState
from hosts.rotation.renewal import JITTER, held_up, is_due, renew_due
from hosts.rotation.selectors import last_renewable
from hosts.rotation.services import cancel, stage
from hosts.rotation.transitions import enter, page_of
from hosts.services import delete_host, install_issued_certificate
from hosts.tasks import renew_client_certificates
from localca.models import CertificateAuthority, IssuedCertificate, RevocationReason, Status
from localca.revocation import revoke_certificate
from localca.services import issue_client_certificate, renew_certificate
from tests.hosts.rotation.examples import NEW_CA, again, next_step, plain_host, staged
from tests.support.database import Installation, finished
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

ASKERS = 20
DAY = datetime.timedelta(days=1)


def host_of_the_ca(name: str = "orders") -> tuple[Host, IssuedCertificate]:
    host = plain_host(name)
    return host, install_issued_certificate(host=host, user=None)


def late(certificate: IssuedCertificate) -> datetime.datetime:
    """When it is certainly due."""
    return certificate.not_after - 30 * DAY


def presented(host: Host) -> str:
    return UpstreamTLSConfiguration.objects.get(host=host).client_certificate_facts[0].fingerprint_sha256


def test_it_is_due_at_two_thirds_of_its_life() -> None:
    """Earlier by what its serial number says, never later; the same for whoever asks."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    moments = []
    for serial in (0, 9_999, 5_000):
        certificate = IssuedCertificate(serial_number=f"{serial:x}", not_before=start, not_after=start + 300 * DAY)
        hours = [hour for hour in range(300 * 24) if is_due(certificate, now=start + datetime.timedelta(hours=hour))]
        assert hours == list(range(hours[0], 300 * 24))
        moments.append(hours[0] / 24)
    assert moments == pytest.approx([200, 200 - 300 * JITTER, 200 - 150 * JITTER], abs=0.1)
    assert not is_due(certificate, now=start - 1000 * DAY)  # a clock that was set back


def test_a_certificate_that_is_due_is_renewed_and_put_in_use() -> None:
    """Once; then there is nothing due for a long time."""
    host, old = host_of_the_ca()
    assert renew_due(now=old.not_before + 100 * DAY) == 0
    assert renew_due(now=late(old)) == 1
    assert renew_due(now=late(old)) == 0
    rotation = Rotation.objects.get()
    successor = IssuedCertificate.objects.get(renewed_from=old)
    assert (rotation.source, rotation.candidate_fingerprint_sha256) == ("renewed", successor.fingerprint_sha256)
    assert next_step(rotation).state == RotationState.WATCHING
    assert presented(host) == successor.fingerprint_sha256
    assert renew_due(now=late(old)) == 0


def test_who_is_left_alone() -> None:
    """Disabled hosts, those without mTLS, revoked certificates, uploaded ones, and successors of a person."""
    disabled, first = host_of_the_ca("disabled")
    Host.objects.filter(pk=disabled.pk).update(enabled=False)
    without, _ = host_of_the_ca("without")
    UpstreamTLSConfiguration.objects.filter(host=without).update(enabled=False)
    _, revoked = host_of_the_ca("revoked")
    IssuedCertificate.objects.filter(pk=revoked.pk).update(revoked_at=first.not_before, revocation_reason="superseded")
    plain_host("uploaded")
    _, renewed = host_of_the_ca("renewed")
    renew_certificate(certificate=renewed, user=None)
    count = IssuedCertificate.objects.count()
    for _ in range(2):
        assert renew_due(now=late(first)) == 0
    assert IssuedCertificate.objects.count() == count
    # The host still presents the old one: somebody has to know.
    event = NotedEvent.objects.get(title__contains="could not")
    assert event.title == "The client certificate of renewed could not be renewed"
    assert "by hand" in event.text


def test_a_renewal_that_was_cancelled_ends_no_renewals() -> None:
    """Its key is lost and its certificate revoked; the next one, not at once, says what the one in use says."""
    host, old = host_of_the_ca()
    assert renew_due(now=late(old)) == 1
    cancel(rotation=Rotation.objects.get(), user=None)
    lost = IssuedCertificate.objects.get(renewed_from=old)
    assert lost.status == Status.REVOKED
    Rotation.objects.update(ended_at=late(old))
    assert renew_due(now=late(old)) == 0
    assert renew_due(now=late(old) + 16 * DAY) == 0
    assert renew_due(now=late(old) + 17 * DAY) == 1
    rotation = Rotation.objects.open().get()
    assert rotation.source == RotationSource.RENEWED
    issued = IssuedCertificate.objects.get(fingerprint_sha256=rotation.candidate_fingerprint_sha256)
    assert (issued.subject, issued.issued_for, issued.successor) == (old.subject, old.issued_for, None)
    assert issued.facts.subject_alt_names == old.facts.subject_alt_names
    assert next_step(rotation).state == RotationState.WATCHING
    assert presented(host) == rotation.candidate_fingerprint_sha256
    assert not NotedEvent.objects.filter(title__contains="could not").exists()


def test_a_lost_successor_that_could_not_be_revoked_has_a_successor() -> None:
    """Its CA had no key at that moment: it stays valid, and the next one is its successor, with a key that is there."""
    host, old = host_of_the_ca()
    assert renew_due(now=late(old)) == 1
    lost = IssuedCertificate.objects.get(renewed_from=old)
    authority = CertificateAuthority.objects.get()
    key = authority.private_key
    CertificateAuthority.objects.update(is_active=False, private_key=None)
    cancelled = cancel(rotation=Rotation.objects.get(), user=None)
    assert "could not be revoked" in cancelled.message
    authority.private_key = key
    authority.save()
    Rotation.objects.update(ended_at=late(old))
    assert renew_due(now=late(old) + 17 * DAY) == 1
    rotation = Rotation.objects.open().get()
    assert rotation.candidate_fingerprint_sha256 == IssuedCertificate.objects.get(renewed_from=lost).fingerprint_sha256
    assert next_step(rotation).state == RotationState.WATCHING
    assert presented(host) == rotation.candidate_fingerprint_sha256


def shared_by_two() -> tuple[Host, Host, IssuedCertificate]:
    host, old = host_of_the_ca()
    other = plain_host("other")
    shared = UpstreamTLSConfiguration.objects.get(host=host)
    configuration = UpstreamTLSConfiguration.objects.get(host=other)
    configuration.client_certificate, configuration.client_key = shared.client_certificate, shared.client_key
    configuration.client_key_spki_sha256 = shared.client_key_spki_sha256
    configuration.save()
    return host, other, old


def test_hosts_that_share_a_certificate_get_one_each() -> None:
    """Keys are not copied."""
    _, _, old = shared_by_two()
    assert renew_due(now=late(old)) == 2
    first, second = Rotation.objects.all()
    assert first.candidate_key_spki_sha256 != second.candidate_key_spki_sha256
    for rotation in (first, second):
        assert next_step(rotation).state == RotationState.WATCHING


@pytest.mark.parametrize("is_host_deleted", [True, False])
def test_who_shares_a_certificate_is_renewed_whatever_became_of_the_other(is_host_deleted: bool) -> None:
    """The host that has the successor is deleted, or its rotation forgotten: no person has that key all the same."""
    host, other, old = shared_by_two()
    Host.objects.filter(pk=other.pk).update(enabled=False)
    assert renew_due(now=late(old)) == 1
    next_step(Rotation.objects.get())
    Rotation.objects.all().delete()
    if is_host_deleted:
        delete_host(host=host, user=None)
    Host.objects.update(enabled=Case(When(pk=other.pk, then=True), default=False))
    assert renew_due(now=late(old)) == 1
    assert Rotation.objects.get().host_id == other.pk


def test_a_rotation_that_waits_for_a_person_is_told_as_long_as_it_holds_renewal_up() -> None:
    """At once, then daily, with what to do; never replaced. The pages of the host say so as well."""
    host, old = host_of_the_ca()
    leaf = NEW_CA.client("waiting", not_after=old.not_after)
    rotation = staged(host, leaf, is_manual=True)
    assert held_up(host.pk, now=old.not_before) is None
    due_since = old.not_after - 120 * DAY
    for hours in (0, 1, 23, 25):
        assert renew_due(now=due_since + datetime.timedelta(hours=hours)) == 0
    first, second = NotedEvent.objects.filter(kind="rotation_failed").order_by("at")
    assert second.at - first.at == datetime.timedelta(hours=25)
    assert first.title == "The client certificate of orders is not renewed: a rotation is in the way"
    assert first.text.endswith("is ready to promote. Confirm or cancel it.")
    assert f"ends on {old.not_after:%Y-%m-%d}" in first.text
    assert first.path == page_of(rotation)
    due = held_up(host.pk, now=late(old))
    assert due is not None
    assert (due.waits_for, due.certificate) == (rotation, old)
    assert again(rotation).state == RotationState.READY


def test_a_refusal_that_lasts_is_told_daily_while_renewal_is_due() -> None:
    """Its first day is that of the refusal itself; what is still under way holds nothing up."""
    host, old = host_of_the_ca()
    renew_due(now=late(old))
    renew_due(now=late(old))
    assert not NotedEvent.objects.filter(kind="rotation_failed").exists()
    rotation = Rotation.objects.select_related("host").get()
    with time_machine.travel(late(old), tick=False):
        enter(rotation, RotationState.REFUSED, user=None, code="timeout", message="It hangs.", due_at=late(old))
    for hours in (1, 23, 25, 26):
        renew_due(now=late(old) + datetime.timedelta(hours=hours))
    titles = NotedEvent.objects.filter(kind="rotation_failed").order_by("at").values_list("title", flat=True)
    assert list(titles) == [
        "The new client certificate of orders is refused by an upstream",
        "The client certificate of orders is not renewed: a rotation is in the way",
    ]
    assert held_up(host.pk, now=late(old)) is not None


def test_a_candidate_that_is_over_holds_renewal_up_no_longer() -> None:
    """It could never be put in use: its rotation ends, and the next sweep renews."""
    host, old = host_of_the_ca()
    bundle = issue_client_certificate(common_name="theirs")
    pair = UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode())
    rotation = next_step(stage(host=host, pair=pair, is_manual=True, user=None))
    revoke_certificate(certificate=bundle.record, reason=RevocationReason.UNSPECIFIED, user=None)
    assert renew_due(now=late(old)) == 0
    assert (again(rotation).state, again(rotation).code) == (RotationState.FAILED, "client_certificate_revoked")
    assert renew_due(now=late(old)) == 1


def test_a_ca_that_cannot_sign_is_told_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing half done; other errors of one host do not cost the others theirs."""
    host, old = host_of_the_ca()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE localca_certificateauthority SET private_key = %s", [b"\1" * 200])
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            assert renew_due(now=late(old)) == 0
    assert "was not renewed" in caplog.text
    assert (IssuedCertificate.objects.count(), Rotation.objects.count()) == (1, 0)
    event = NotedEvent.objects.get(kind="rotation_failed")
    assert event.title == "The client certificate of orders could not be renewed"
    assert event.text
    assert renew_due(now=late(old) + 2 * DAY) == 0
    assert NotedEvent.objects.filter(kind="rotation_failed").count() == 2
    assert presented(host) == old.fingerprint_sha256


@pytest.mark.parametrize("error", [DatabaseError("disk full"), IssuedCertificate.DoesNotExist(), RuntimeError("a bug")])
def test_one_host_costs_no_other_its_renewal(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A database that fails for one of them, a certificate that was deleted meanwhile, or a mistake of ours."""
    (_, old), (second, _) = host_of_the_ca(), host_of_the_ca("second")
    real = renewal._renew

    def failing(host_id: object, *arguments: object) -> bool:
        if host_id != second.pk:
            raise error
        return real(second.pk, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(renewal, "_renew", failing)
    assert renew_due(now=late(old)) == 1
    assert Rotation.objects.get().host_id == second.pk


def test_the_task_asks_now() -> None:
    """Of a new certificate nothing is due."""
    host_of_the_ca()
    renew_client_certificates()
    assert not Rotation.objects.exists()


def test_a_chain_of_lost_successors_ends() -> None:
    """At the last; a person's successor anywhere in it ends the search."""
    host, old = host_of_the_ca()
    assert last_renewable(old) == old
    renew_due(now=late(old))
    Rotation.objects.all().delete()
    tip = IssuedCertificate.objects.get(renewed_from=old)
    assert last_renewable(IssuedCertificate.objects.for_display().get(pk=old.pk)) == tip
    renew_certificate(certificate=tip, user=None)
    assert last_renewable(IssuedCertificate.objects.for_display().get(pk=old.pk)) is None
    assert presented(host) == old.fingerprint_sha256


@pytest.mark.django_db(transaction=True)
def test_many_who_renew_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty sweeps at the same moment: one certificate, one rotation, and no error."""
    monkeypatch.setattr(services, "go_on", lambda rotation: None)
    _, old = host_of_the_ca()
    at_once = threading.Barrier(ASKERS, timeout=30)

    def sweep(number: int) -> int:
        try:
            at_once.wait()
            return renew_due(now=late(old))
        finally:
            connection.close()

    with ThreadPoolExecutor(ASKERS) as pool:
        assert sum(pool.map(sweep, range(ASKERS))) == 1
    assert (IssuedCertificate.objects.count(), Rotation.objects.count()) == (2, 1)
    assert not NotedEvent.objects.filter(title__contains="could not").exists()


SWEEPER = """
import datetime
from hosts.rotation import renewal, services
from localca.models import IssuedCertificate, RevocationReason
services.go_on = lambda rotation: None
now = IssuedCertificate.objects.get().not_after - datetime.timedelta(days=30)
print("ready", flush=True)
sys.stdin.readline()
print(renewal.renew_due(now=now), flush=True)
"""
SET_UP = """
import warnings; warnings.simplefilter("ignore")
from localca.services import *
from hosts.models import *
from hosts.services import install_issued_certificate
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
host = Host.objects.create(name="orders")
host.domains.create(name="orders.example.com")
UpstreamTLSConfiguration.objects.create(host=host)
install_issued_certificate(host=host, user=None)
"""


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_twenty_processes_that_renew_at_once(tmp_path: Path, django_db_setup: None) -> None:
    """As threads do it."""
    installation = Installation(tmp_path)
    finished(installation.start(SET_UP))
    answers = installation.race(SWEEPER, runners=[str(number) for number in range(ASKERS)])
    assert sorted(answers) == ["0\n"] * (ASKERS - 1) + ["1\n"]
    count = "from hosts.rotation.models import *; from localca.models import *; "
    count += "print(Rotation.objects.count(), IssuedCertificate.objects.count())"
    assert finished(installation.start(count)) == "1 2\n"
