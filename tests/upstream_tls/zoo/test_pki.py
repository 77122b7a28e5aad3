"""The certificates of the zoo."""

import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from upstream_tls.zoo.pki import PKI, Wrong, rsa_key, signed_with_sha1

NOW = datetime.datetime(2026, 5, 1, 12, 30, 15, 7, tzinfo=datetime.UTC)


def test_equal_seeds_give_equal_certificates() -> None:
    """Two processes that share seed and moment agree byte for byte; another seed changes every key."""
    one, same, other = PKI(b"seed", NOW), PKI(b"seed", NOW), PKI(b"other", NOW)
    assert one.server().chain_pem == same.server().chain_pem
    assert one.client().key_pem == same.client().key_pem
    assert one.crl(one.root) == same.crl(same.root)
    assert one.client().key_pem != other.client().key_pem


def test_chain_has_intermediates_and_no_root() -> None:
    """What is sent after a leaf are its intermediates only."""
    pki = PKI(b"seed", NOW)
    leaf = pki.server(issuer=pki.intermediate)
    assert leaf.above == (pki.intermediate.certificate,)
    leaf.certificate.verify_directly_issued_by(pki.intermediate.certificate)
    assert leaf.alone.above == ()


def test_sha1_signature_is_a_good_one() -> None:
    """The forged algorithm is in both places, and the signature fits it."""
    pki, key = PKI(b"seed", NOW), rsa_key(2048)
    issuer = pki.authority("RSA CA", wrong=Wrong(key=key))
    certificate = signed_with_sha1(pki.server(issuer=issuer).certificate, key)
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA1)
    algorithm, signed = padding.PKCS1v15(), certificate.tbs_certificate_bytes
    key.public_key().verify(certificate.signature, signed, algorithm, hashes.SHA1())  # noqa: S303


def test_keys_are_not_shown() -> None:
    """An identity's repr has no key."""
    assert "key=" not in repr(PKI(b"seed", NOW).client())
