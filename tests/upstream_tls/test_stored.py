"""Stored certificates, parsed once."""

import pytest

from tests.support.certificates import Authority
from upstream_tls.stored import stored_certificates, stored_ends, stored_facts
from upstream_tls.tls.credentials import CredentialProblem

CA = Authority("Stored CA")
LEAF = CA.client("stored client")


def test_the_same_text_is_parsed_once() -> None:
    """Whoever asks gets the same objects."""
    assert stored_certificates(LEAF.chain_pem) is stored_certificates(LEAF.chain_pem)
    assert stored_certificates(LEAF.chain_pem) == (LEAF.certificate,)
    assert stored_facts(LEAF.chain_pem) is stored_facts(LEAF.chain_pem)
    assert stored_facts(LEAF.chain_pem)[0].subject == "CN=stored client"
    assert stored_ends(LEAF.chain_pem) is stored_ends(LEAF.chain_pem)
    assert stored_ends(LEAF.chain_pem + CA.pem) == (
        LEAF.certificate.not_valid_after_utc,
        CA.certificate.not_valid_after_utc,
    )


def test_an_empty_text_has_none() -> None:
    """Nothing is stored."""
    assert (stored_certificates(""), stored_facts(""), stored_ends("")) == ((), (), ())


def test_a_large_bundle_is_not_remembered() -> None:
    """It is parsed at each call: the memory has a bound."""
    bundle = CA.pem * 60
    assert stored_certificates(bundle) is not stored_certificates(bundle)
    assert len(stored_certificates(bundle)) == len(stored_facts(bundle)) == len(stored_ends(bundle)) == 60


def test_a_key_among_certificates_is_refused() -> None:
    """Each time, and never remembered."""
    for _ in range(2):
        with pytest.raises(CredentialProblem):
            stored_certificates(LEAF.key_pem)
