"""What a revocation list says, extension by extension."""

import datetime

import pytest
from cryptography import x509

from localca.keys import generate_key
from localca.profiles import Issuer, ProfileError, build_root
from localca.revocation_lists import Revocation, build_revocation_list

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
WEEK = datetime.timedelta(days=7)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return build_root(common_name="Aegis Local CA test", now=NOW)


def list_of(issuer: Issuer, *revocations: Revocation) -> x509.CertificateRevocationList:
    return build_revocation_list(
        issuer=issuer, number=17, revocations=revocations, this_update=NOW, next_update=NOW + WEEK
    )


def test_a_list(issuer: Issuer) -> None:
    """Issuer, times, number and key identifier as RFC 5280 section 5.1 and 5.2 demand; none of them critical."""
    revocation_list = list_of(issuer)
    assert revocation_list.issuer == issuer.certificate.subject
    assert (revocation_list.last_update_utc, revocation_list.next_update_utc) == (NOW, NOW + WEEK)
    assert {type(extension.value) for extension in revocation_list.extensions} == {
        x509.CRLNumber,
        x509.AuthorityKeyIdentifier,
    }
    assert not any(extension.critical for extension in revocation_list.extensions)
    assert revocation_list.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 17
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = revocation_list.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == identifier.digest
    assert revocation_list.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]


def test_entries(issuer: Issuer) -> None:
    """Serial number, moment and reason; `unspecified` is said by no extension at all."""
    reasons = (x509.ReasonFlags.key_compromise, x509.ReasonFlags.unspecified)
    entries = list(
        list_of(
            issuer, *(Revocation(serial_number=n, revoked_at=NOW, reason=reason) for n, reason in enumerate(reasons, 1))
        )
    )
    assert [entry.serial_number for entry in entries] == [1, 2]
    assert {entry.revocation_date_utc for entry in entries} == {NOW}
    assert [len(entry.extensions) for entry in entries] == [1, 0]
    assert entries[0].extensions.get_extension_for_class(x509.CRLReason).value.reason == reasons[0]


def test_the_proof_refuses_another_key(issuer: Issuer) -> None:
    """A list that the CA's certificate does not vouch for is not handed out."""
    key = generate_key()
    with pytest.raises(ProfileError, match="the CA's key is not the one of its certificate"):
        list_of(Issuer(certificate=issuer.certificate, key=key))  # type: ignore[arg-type]
