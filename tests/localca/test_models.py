"""Invariants of the local CA's tables."""

import datetime

import pytest
import time_machine
from django.db import IntegrityError, transaction

from aegis_site.kernel.fields import Sealed
from localca.models import CertificateAuthority, IssuedCertificate, Status
from localca.services import ensure_authority, issue_client_certificate

pytestmark = pytest.mark.django_db


def test_at_most_one_ca_is_active() -> None:
    """The database refuses a second active CA and admits retired ones."""
    first = ensure_authority()
    copy = {"certificate_pem": first.certificate_pem}
    for _ in range(2):
        CertificateAuthority.objects.create(private_key=Sealed.of(b"retired"), is_active=False, **copy)
    with pytest.raises(IntegrityError), transaction.atomic():
        CertificateAuthority.objects.create(private_key=Sealed.of(b"second"), **copy)


def test_a_ca_without_key_is_refused() -> None:
    """A CA row always has a sealed key."""
    pem = ensure_authority().certificate_pem
    with pytest.raises(IntegrityError), transaction.atomic():
        CertificateAuthority.objects.create(certificate_pem=pem, is_active=False, private_key=None)


@pytest.mark.parametrize("change", [{"purpose": "anything"}, {"serial_number": "taken"}, {"not_after": "not_before"}])
def test_issued_certificates(change: dict[str, str]) -> None:
    """Purposes are known, serial numbers unique, validities forward."""
    taken = issue_client_certificate(common_name="first").record
    IssuedCertificate.objects.filter(pk=taken.pk).update(serial_number="taken")
    record = issue_client_certificate(common_name="second").record
    values = {name: record.not_before if value == "not_before" else value for name, value in change.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        IssuedCertificate.objects.filter(pk=record.pk).update(**values)


def test_names() -> None:
    """Rows are named by what an operator knows: the CA's name, the subject and the start of the serial number."""
    record = issue_client_certificate(common_name="orders").record
    assert str(record) == f"CN=orders ({record.serial_number[:8]}…)"
    assert str(record.authority).startswith("Aegis Local CA ")


@pytest.mark.parametrize(
    "change",
    [
        {"revoked_at": "2026-05-01T00:00:00Z"},
        {"revocation_reason": "superseded"},
        {"revoked_at": "2026-05-01T00:00:00Z", "revocation_reason": "certificateHold"},
    ],
)
def test_a_revocation_has_a_moment_and_a_reason(change: dict[str, str]) -> None:
    """The database refuses one without the other, and reasons that could be taken back."""
    record = issue_client_certificate(common_name="orders").record
    with pytest.raises(IntegrityError), transaction.atomic():
        IssuedCertificate.objects.filter(pk=record.pk).update(**change)


def test_a_certificate_has_one_successor() -> None:
    """The database refuses a second one."""
    old, new, other = (issue_client_certificate(common_name=name).record for name in ("old", "new", "other"))
    IssuedCertificate.objects.filter(pk=new.pk).update(renewed_from=old)
    with pytest.raises(IntegrityError), transaction.atomic():
        IssuedCertificate.objects.filter(pk=other.pk).update(renewed_from=old)


def test_what_became_of_a_certificate() -> None:
    """Valid, then expired; revoked stays revoked. Sets and rows agree, and a summary holds no key."""
    bundle = issue_client_certificate(common_name="orders")
    record = bundle.record
    assert record.status == "valid"
    for moment in (record.not_after - datetime.timedelta(seconds=1), record.not_after):
        with time_machine.travel(moment, tick=False):
            found = [status for status in Status if IssuedCertificate.objects.with_status(status, now=moment).exists()]
            assert found == [record.status]
    assert "PRIVATE KEY" not in str(record.summary())
    record.revoked_at = record.not_after
    assert record.status == "revoked"
