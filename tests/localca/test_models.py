"""Invariants of the local CA's tables."""

import pytest
from django.db import IntegrityError, transaction

from aegis_site.kernel.fields import Sealed
from localca.models import CertificateAuthority, IssuedCertificate
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
