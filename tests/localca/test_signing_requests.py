"""Reading signing requests: proof of possession, supported keys, and nothing else of them."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from localca.keys import KeyType
from localca.signing_requests import read_signing_request
from tests.support.signing_requests import signing_request


def refusal(pem: str) -> str:
    with pytest.raises(ValidationError) as raised:
        read_signing_request(pem)
    return str(raised.value.error_list[0].code)


def with_body(change: int, pem: str) -> str:
    """The request with one octet of its signature changed."""
    der = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= change
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize(
    ("key", "key_type"),
    [
        (ec.generate_private_key(ec.SECP384R1()), KeyType.EC_P384),
        (rsa.generate_private_key(65537, 3072), KeyType.RSA_3072),
        (ed25519.Ed25519PrivateKey.generate(), KeyType.ED25519),
    ],
)
def test_a_request(key: CertificateIssuerPrivateKeyTypes, key_type: KeyType) -> None:
    """Its key, with its type, and its names when asked for."""
    names = [x509.DNSName("a.example.com"), x509.UniformResourceIdentifier("urn:x:y")]
    request = read_signing_request(signing_request(key, common_name="orders", names=names))
    assert (request.public_key, request.key_type) == (key.public_key(), key_type)
    assert request.common_name() == "orders"
    assert request.subject_alt_names() == ("DNS:a.example.com", "URI:urn:x:y")


def test_a_request_without_names() -> None:
    """Then there is nothing to take."""
    request = read_signing_request(signing_request(common_name=""))
    assert (request.common_name(), request.subject_alt_names()) == ("", ())


def test_names_that_are_not_certified() -> None:
    """Mail addresses and the like are refused, not dropped."""
    request = read_signing_request(signing_request(names=[x509.RFC822Name("a@example.com")]))
    with pytest.raises(ValidationError, match="neither a DNS name, an IP address nor a URI"):
        request.subject_alt_names()


def test_who_does_not_hold_the_key_is_refused() -> None:
    """A request whose signature is not its key's proves nothing."""
    pem = signing_request(ed25519.Ed25519PrivateKey.generate())
    assert refusal(with_body(0x01, pem)) == "bad_signature"


@pytest.mark.parametrize(
    ("pem", "code"),
    [
        ("nonsense", "bad_pem"),
        (signing_request() * 2, "bad_pem"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "bad_pem"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "bad_pem"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "pem_swapped"),
        ("x" * 70_000, "max_length"),
        (signing_request(ec.generate_private_key(ec.SECP521R1())), "unsupported_key"),
        (signing_request(rsa.generate_private_key(65537, 2560)), "unsupported_key"),
    ],
)
def test_what_is_no_request(pem: str, code: str) -> None:
    """Refused with a stable code."""
    assert refusal(pem) == code


_DER = x509.load_pem_x509_csr(signing_request(names=[x509.DNSName("a")]).encode()).public_bytes(
    serialization.Encoding.DER
)


@given(st.integers(0, len(_DER) - 1), st.integers(0, 255))
def test_a_damaged_request_never_crashes(position: int, octet: int) -> None:
    """Whichever octet is changed, the outcome is a request or a ValidationError, names included."""
    der = bytearray(_DER)
    der[position] = octet
    body = base64.encodebytes(bytes(der)).decode()
    try:
        request = read_signing_request(
            f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"
        )
        request.common_name()
        request.subject_alt_names()
    except ValidationError:
        pass
