"""Invariants of the local CA's tables."""

import datetime
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.fields import Sealed
from localca.hierarchy import create_intermediate
from localca.models import CertificateAuthority, IssuedCertificate, KeyMissing, Status
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


@pytest.mark.parametrize("change", [{"private_key": None}, {"retired_at": "2026-05-01T00:00:00Z"}])
def test_a_ca_that_issues_can_sign_and_is_trusted(change: dict[str, Any]) -> None:
    """The database refuses an active CA without key, or one that is retired; others may be either."""
    authority = ensure_authority()
    with pytest.raises(IntegrityError), transaction.atomic():
        CertificateAuthority.objects.filter(pk=authority.pk).update(**change)
    assert CertificateAuthority.objects.filter(pk=authority.pk).update(is_active=False, **change) == 1


def test_only_intermediates_are_revoked() -> None:
    """The database refuses a revoked root, and a revocation without a reason."""
    root, intermediate = ensure_authority(), create_intermediate(user=None)
    create_intermediate(user=None)
    revoked = {"revoked_at": "2026-05-01T00:00:00Z"}
    for authority, reason in ((root, "superseded"), (intermediate, "")):
        with pytest.raises(IntegrityError), transaction.atomic():
            CertificateAuthority.objects.filter(pk=authority.pk).update(revocation_reason=reason, **revoked)
    CertificateAuthority.objects.filter(pk=intermediate.pk).update(revocation_reason="superseded", **revoked)


def test_the_path_of_a_leaf() -> None:
    """The leaf comes first, then its intermediate, never the root; shown rows need one query for that."""
    root = ensure_authority()
    before = issue_client_certificate(common_name="before").record
    intermediate = create_intermediate(user=None)
    after = issue_client_certificate(common_name="after").record
    assert before.chain_pem == before.certificate_pem
    assert after.chain_pem == after.certificate_pem + intermediate.certificate_pem
    assert (after.authority.path, after.authority.root) == ((intermediate, root), root)
    assert (root.is_root, intermediate.is_root) == (True, False)
    with CaptureQueriesContext(connection) as queries:
        chains = [shown.chain_pem for shown in IssuedCertificate.objects.for_display().order_by("created_at")]
    assert chains == [before.chain_pem, after.chain_pem]
    assert len(queries) == 1


def test_a_ca_without_its_key_signs_nothing() -> None:
    """Whoever asks it to gets the reason."""
    authority = CertificateAuthority(certificate_pem=ensure_authority().certificate_pem, private_key=None)
    with pytest.raises(KeyMissing, match="is not stored here, so it cannot sign"):
        authority.issuer()


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
