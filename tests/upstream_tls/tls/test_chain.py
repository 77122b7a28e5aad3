"""Putting a client's certificates in order."""

import datetime
import itertools

import pytest
from cryptography import x509

from tests.support.certificates import Authority
from tests.support.odd_certificates import certificate
from upstream_tls.tls import chain
from upstream_tls.tls.chain import MAX_CHAIN_CERTIFICATES, Arrangement, arrange, is_issued_by, is_self_signed
from upstream_tls.tls.credentials import certificate_spki_sha256
from upstream_tls.tls.pem import CredentialProblem

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
ROOT = Authority("Root")
MIDDLE = Authority("Middle", parent=ROOT)
ISSUING = Authority("Issuing", parent=MIDDLE)
LEAF = ISSUING.client("leaf").certificate
STRANGER = Authority("Stranger").certificate
SENT = (LEAF, ISSUING.certificate, MIDDLE.certificate)


def test_a_chain_in_order_is_left_alone() -> None:
    """Nothing is done, and nothing said to be done."""
    assert arrange(SENT) == Arrangement(SENT)
    assert arrange((LEAF,)) == Arrangement((LEAF,))


@pytest.mark.parametrize("given", list(itertools.permutations([*SENT, ROOT.certificate])))
def test_any_order_becomes_leaf_first(given: tuple) -> None:  # type: ignore[type-arg]
    """Each certificate is followed by its issuer; the root, which the upstream has, is left out."""
    arrangement = arrange(given)
    assert arrangement.chain == SENT
    assert arrangement.root == ROOT.certificate
    assert arrangement.is_reordered == ([found for found in given if found != ROOT.certificate] != list(SENT))


def test_repetitions_and_strangers_are_left_out() -> None:
    """What does not lead from the leaf to its root is not sent."""
    assert arrange((LEAF, LEAF, STRANGER, ISSUING.certificate)) == Arrangement(
        (LEAF, ISSUING.certificate), left_out=(STRANGER,)
    )


def test_the_key_decides_which_is_the_leaf() -> None:
    """Two client certificates in one file: the one of the private key is meant."""
    other = ISSUING.client("other").certificate
    fingerprint = certificate_spki_sha256(LEAF)
    assert arrange((other, LEAF, ISSUING.certificate), leaf_spki_sha256=fingerprint) == Arrangement(
        (LEAF, ISSUING.certificate), left_out=(other,)
    )
    assert arrange((other, LEAF), leaf_spki_sha256="00" * 32).chain == (other,)


def test_a_self_signed_certificate_is_its_own_chain() -> None:
    """It is the leaf, not a root to be left out."""
    alone = certificate("alone", now=NOW)
    assert arrange((alone,)) == Arrangement((alone,))


def test_cross_signed_issuers_are_both_sent() -> None:
    """The upstream may trust the one or the other."""
    old_root = Authority("Old root")
    cross = certificate("Middle", issuer=old_root, key=MIDDLE.key, now=NOW)
    assert set(arrange((LEAF, ISSUING.certificate, MIDDLE.certificate, cross)).chain) == {*SENT, cross}


def test_names_alone_make_no_issuer() -> None:
    """A certificate of the same name with another key did not sign it."""
    namesake = Authority("Issuing").certificate
    assert not is_issued_by(LEAF, namesake)
    assert is_issued_by(LEAF, ISSUING.certificate)
    assert is_self_signed(ROOT.certificate)
    assert not is_self_signed(LEAF)


def test_a_signature_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right one and a wrong one; what is remembered is of these very certificates, and has a bound."""
    leaf, namesake = Authority("Once").client("leaf").certificate, Authority("Once")
    issuer = Authority("Once")
    own = issuer.client("leaf").certificate
    checks: list[x509.Certificate] = []
    check = chain._has_signed

    def counted(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
        checks.append(certificate)
        return check(issuer, certificate)

    monkeypatch.setattr(chain, "_has_signed", counted)
    monkeypatch.setattr(chain, "_remembered_pairs", {})
    monkeypatch.setattr(chain, "_MAX_REMEMBERED_PAIRS", 2)
    for _ in range(3):
        assert not is_issued_by(leaf, namesake.certificate)
        assert is_issued_by(own, issuer.certificate)
    assert checks == [leaf, own]
    assert not is_issued_by(own, namesake.certificate)
    assert len(chain._remembered_pairs) == 1


def test_too_many_are_refused_before_any_is_compared() -> None:
    """A whole CA bundle in the wrong field is told so."""
    many = [certificate(f"c{number}", now=NOW) for number in range(MAX_CHAIN_CERTIFICATES + 1)]
    with pytest.raises(CredentialProblem, match="these are 21 certificates, more than 20") as caught:
        arrange(many)
    assert caught.value.code == "bad_pem"
