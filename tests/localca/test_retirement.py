"""What depends on a CA, and retiring one on which nothing depends."""

import datetime
from collections.abc import Collection, Iterator, Sequence

import pytest
import time_machine

from aegis_site.kernel.audit.models import AuditEntry
from localca import retirement
from localca.bundle import trust_bundle_zip
from localca.hierarchy import HierarchyError, create_intermediate, create_root
from localca.models import CertificateAuthority, RevocationReason
from localca.retirement import Dependent, readiness_of, register_finder, retire_authority
from localca.revocation import current_list, current_lists, refresh_lists, revoke_certificate
from localca.selectors import leafs_of, trust_anchors
from localca.services import ensure_authority, issue_client_certificate, renew_certificate

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def finders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Those of the product, and what a test registers is forgotten after it."""
    monkeypatch.setattr(retirement, "_finders", list(retirement._finders))
    return


def refusal(authority: CertificateAuthority) -> HierarchyError:
    with pytest.raises(HierarchyError) as raised:
        retire_authority(authority=authority, user=None)
    assert CertificateAuthority.objects.get(pk=authority.pk).retired_at is None
    return raised.value


def test_who_issues_is_needed() -> None:
    """A root that issues, itself or by its intermediate."""
    root = ensure_authority()
    assert refusal(root).code == "still_needed"
    intermediate = create_intermediate(user=None)
    assert "it issues, or an intermediate beneath it does" in refusal(root).message
    assert refusal(intermediate).code == "not_a_root"


def test_certificates_without_successor_are_needed() -> None:
    """Renewed, revoked or expired: then nobody has to keep the old one; each way is enough."""
    old = ensure_authority()
    direct = issue_client_certificate(common_name="direct").record
    create_intermediate(user=None)
    records = [issue_client_certificate(common_name=name).record for name in ("renewed", "revoked")]
    create_root(user=None)
    assert {one.subject for one in readiness_of(old).certificates} == {"CN=direct", "CN=renewed", "CN=revoked"}
    assert refusal(old).message == (
        f"{old} is still needed: CN=direct, CN=renewed, CN=revoked are valid and have no successor: "
        "renew or revoke them."
    )
    renew_certificate(certificate=records[0], user=None)
    revoke_certificate(certificate=records[1], reason=RevocationReason.SUPERSEDED, user=None)
    assert [one.subject for one in readiness_of(old).certificates] == ["CN=direct"]
    with time_machine.travel(direct.not_after + datetime.timedelta(seconds=1), tick=False):
        assert readiness_of(old).is_ready
    assert leafs_of(old).get() == direct


def test_what_presents_a_certificate_is_needed() -> None:
    """Whatever became of the certificate: a renewal that was not rolled out counts."""
    old = ensure_authority()
    new = create_root(user=None)

    def finder(authorities: Collection[CertificateAuthority]) -> Sequence[Dependent]:
        found = Dependent(name="host orders", certificate="CN=orders", fingerprint_sha256="ab")
        return [found] * 7 if old in authorities else []

    register_finder(finder)
    register_finder(finder)
    assert len(readiness_of(old).dependents) == 7
    assert "host orders and 2 more present its certificates" in refusal(old).message
    assert readiness_of(new).dependents == ()


def test_a_retired_root() -> None:
    """It and its intermediates leave the bundle; rows and lists stay, and it is over once."""
    old = ensure_authority()
    intermediate = create_intermediate(user=None)
    new = create_root(user=None)
    before = trust_bundle_zip()
    number = current_list(new).number
    retired = retire_authority(authority=old, user=None)
    assert retired.retired_at is not None
    assert CertificateAuthority.objects.get(pk=intermediate.pk).retired_at is not None
    assert trust_anchors() == (new,)
    assert [found.authority for found in current_lists()] == [new]
    assert current_list(new).number == number + 1, "clients that ask by date see a change"
    assert trust_bundle_zip() != before
    assert AuditEntry.objects.filter(action="retired").count() == 2
    with pytest.raises(HierarchyError, match="is retired already"):
        retire_authority(authority=old, user=None)
    with time_machine.travel(current_list(new).this_update + datetime.timedelta(days=2), tick=False):
        assert refresh_lists() == 3, "also of who is retired: its leafs may still be around"
