"""Stored certificates, parsed once."""

import datetime

import pytest
from cryptography.hazmat.primitives import hashes

from tests.support.certificates import Authority
from tests.support.odd_certificates import pem, revocation_list
from upstream_tls.stored import stored_certificates, stored_ends, stored_facts, stored_revocation_lists
from upstream_tls.tls.credentials import CredentialProblem

NOW = datetime.datetime.now(datetime.UTC)
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


def test_revocation_lists_are_described_once() -> None:
    """Issuer, end and fingerprint of each."""
    lists = [revocation_list(CA, now=NOW, next_update=datetime.timedelta(days=days)) for days in (3, 9)]
    text = pem(*lists)
    assert stored_revocation_lists(text) is stored_revocation_lists(text)
    assert stored_revocation_lists(text) == tuple(
        ("CN=Stored CA", found.next_update_utc, found.fingerprint(hashes.SHA256()).hex()) for found in lists
    )


def test_an_empty_text_has_none() -> None:
    """Nothing is stored."""
    assert stored_revocation_lists("") == ()
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
