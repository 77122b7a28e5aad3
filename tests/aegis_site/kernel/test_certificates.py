"""What is read from certificates, good and malformed."""

import datetime
import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from aegis_site.kernel.certificates import describe

NOT_BEFORE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(2027, 1, 1, 12, 30, tzinfo=datetime.UTC)
SIGNER = ec.generate_private_key(ec.SECP256R1())

ALL_KINDS_OF_NAMES: list[x509.GeneralName] = [
    x509.DNSName("*.orders.internal"),
    x509.IPAddress(ipaddress.ip_address("10.0.0.7")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.UniformResourceIdentifier("spiffe://orders/proxy"),
    x509.RFC822Name("ops@example.com"),
    x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "there")])),
    x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01x"),
]


def make_certificate(
    *,
    key: Any = SIGNER,
    names: Sequence[x509.GeneralName] = (),
    extensions: Sequence[x509.ExtensionType] = (),
) -> x509.Certificate:
    """A certificate signed by SIGNER with exactly what is asked for."""
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Orders, Inc."),
        x509.NameAttribute(NameOID.COMMON_NAME, "orders"),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Orders CA")]))
        .serial_number(0xBCDEF0123)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .public_key(key.public_key())
    )
    for extension in [*extensions, *([x509.SubjectAlternativeName(names)] if names else [])]:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(SIGNER, hashes.SHA256())


def test_all_facts_of_a_leaf() -> None:
    """Names, serial, validity, fingerprint and key are told in the product's words."""
    certificate = make_certificate(names=ALL_KINDS_OF_NAMES)
    facts = describe(certificate)
    assert facts.subject == r"CN=orders,O=Orders\, Inc."
    assert facts.issuer == "CN=Orders CA"
    assert facts.serial_number == "0bcdef0123"
    assert (facts.not_before, facts.not_after) == (NOT_BEFORE, NOT_AFTER)
    assert facts.subject_alt_names == (
        "DNS:*.orders.internal",
        "IP:10.0.0.7",
        "IP:2001:db8::1",
        "URI:spiffe://orders/proxy",
        "email:ops@example.com",
        "dirName:CN=there",
        "RID:1.2.3.4",
        "otherName:1.3.6.1.4.1.311.20.2.3",
    )
    assert facts.fingerprint_sha256 == certificate.fingerprint(hashes.SHA256()).hex()
    assert (facts.key_type, facts.key_bits, facts.is_ca) == ("EC P-256", 256, False)


def test_a_ca_is_told_from_a_leaf() -> None:
    """Only basic constraints with CA:TRUE make a CA; without names the tuple is empty."""
    ca = make_certificate(extensions=[x509.BasicConstraints(ca=True, path_length=0)])
    leaf = make_certificate(extensions=[x509.BasicConstraints(ca=False, path_length=None)])
    assert (describe(ca).is_ca, describe(leaf).is_ca) == (True, False)
    assert describe(leaf).subject_alt_names == ()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (rsa.generate_private_key(65537, 2048), ("RSA", 2048)),
        (ec.generate_private_key(ec.SECP384R1()), ("EC P-384", 384)),
        (ec.generate_private_key(ec.SECP521R1()), ("EC P-521", 521)),
        (ec.generate_private_key(ec.SECP256K1()), ("EC secp256k1", 256)),
        (ed25519.Ed25519PrivateKey.generate(), ("Ed25519", 256)),
        (ed448.Ed448PrivateKey.generate(), ("Ed448", 456)),
        (dsa.generate_private_key(2048), ("DSA", 2048)),
    ],
)
def test_keys_are_named(key: Any, expected: tuple[str, int]) -> None:
    """Each kind of key has its usual name and its size in bits."""
    facts = describe(make_certificate(key=key))
    assert (facts.key_type, facts.key_bits) == expected


def _changed(certificate: x509.Certificate, old: bytes, new: bytes) -> x509.Certificate:
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert der.count(old) == 1
    assert len(old) == len(new)
    return x509.load_der_x509_certificate(der.replace(old, new))


def test_an_unknown_key_is_shown_by_its_algorithm() -> None:
    """A key that cannot be read is described by its object identifier instead of an error."""
    certificate = make_certificate(key=ed25519.Ed25519PrivateKey.generate())
    # 1.3.101.112 (Ed25519) -> 1.3.101.99
    facts = describe(_changed(certificate, b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x63"))
    assert (facts.key_type, facts.key_bits) == ("1.3.101.99", 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Orders CA", b"Orders \xff\xff"),
        (b"\x82\x03abc", b"\x8a\x03abc"),
        (b"\x55\x1d\x12", b"\x55\x1d\x11"),
    ],
    ids=["name is not UTF-8", "general name of unknown kind", "two subjectAltName extensions"],
)
def test_malformed_insides_are_one_error(old: bytes, new: bytes) -> None:
    """Whatever is malformed inside raises ValueError in the product's words, never a library's own exception."""
    names = [x509.DNSName("abc")]
    issuer_names = x509.IssuerAlternativeName([x509.DNSName("issuer")])
    certificate = make_certificate(names=names, extensions=[issuer_names])
    with pytest.raises(ValueError, match=r"^the certificate is malformed: a name, a key or an extension"):
        describe(_changed(certificate, old, new))
