"""What upstreams show of themselves, made safe."""

import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from OpenSSL.crypto import X509

from upstream_tls.tls.peer import (
    MAX_TEXT_CHARACTERS,
    accepted_by,
    authority_key_id,
    describe_presented,
    safe_text,
    spki_sha256,
)
from upstream_tls.zoo.pki import PKI, Wrong

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of peer", NOW)


def test_certificate_is_described(pki: PKI) -> None:
    """Every field as the API shows it."""
    identity = pki.server(wrong=Wrong(names=("a.test", "10.0.0.7", "spiffe://a/b")))
    facts = describe_presented(X509.from_cryptography(identity.certificate))
    assert (facts.subject, facts.issuer, facts.is_ca) == ("CN=zoo.internal", "CN=Zoo CA", False)
    assert facts.subject_alt_names == ("DNS:a.test", "IP:10.0.0.7", "URI:spiffe://a/b")
    assert facts.key_type == "EC P-256"
    assert facts.not_before == NOW - datetime.timedelta(days=1)
    assert int(facts.serial_number, 16) == identity.certificate.serial_number
    assert len(facts.fingerprint_sha256) == 64
    assert describe_presented(X509.from_cryptography(pki.root.certificate)).is_ca


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (rsa.generate_private_key(65537, 2048), "RSA 2048"),
        (ec.generate_private_key(ec.SECP384R1()), "EC P-384"),
        (ec.generate_private_key(ec.SECP256K1()), "EC secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
    ],
)
def test_key_types_have_their_usual_names(pki: PKI, key: object, name: str) -> None:
    """The curve or the size belongs to it."""
    certificate = pki.server(wrong=Wrong(key=key)).certificate  # type: ignore[arg-type]
    assert describe_presented(X509.from_cryptography(certificate)).key_type == name


def test_text_is_printable_and_short() -> None:
    """Letters of all languages stay; what could end a line or turn it round does not."""
    assert safe_text("Bücher 書") == "Bücher 書"
    assert safe_text("a\nb\x1b\u202ec\ud800") == "a\\nb\\x1b\\u202ec\\ud800"
    assert len(safe_text("x" * 10_000)) == MAX_TEXT_CHARACTERS + 1


def test_acceptance_compares_every_issuer_of_the_chain(pki: PKI) -> None:
    """The leaf's issuer, or that of an intermediate which is sent along; an upstream that names nobody takes all."""
    intermediate = pki.authority("Client intermediate", issuer=pki.clients_root)
    client = pki.client(issuer=intermediate)
    chain = (client.certificate, *client.above)
    assert accepted_by((), chain)
    assert accepted_by(("CN=Client intermediate",), chain)
    assert accepted_by(("CN=x", "CN=Zoo client CA"), chain)
    assert not accepted_by(("CN=Zoo client CA",), chain[:1])
    assert not accepted_by(("CN=x",), chain)


def test_issuers_key_and_own_key_are_named_in_hex(pki: PKI) -> None:
    """The key id that the certificate gives, and the pin of its own key."""
    leaf = pki.server().certificate
    assert len(authority_key_id(leaf)) == 40
    assert authority_key_id(pki.server(wrong=Wrong(has_key_id=False)).certificate) == ""
    assert spki_sha256(leaf) == spki_sha256(pki.server(wrong=Wrong(names=("other",))).certificate)
    assert spki_sha256(leaf) != spki_sha256(pki.root.certificate)
