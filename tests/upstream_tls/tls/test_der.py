"""Telling files apart."""

import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import Authority
from tests.support.odd_certificates import certificate, revocation_list
from upstream_tls.tls.der import armoured, label_of, read_element, to_pem, unarmoured

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
CA = Authority("Orders CA")
LEAF = CA.client("orders")
RSA_KEY = rsa.generate_private_key(65537, 2048)


def der_of(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    content: bytes = key.private_bytes(Encoding.DER, form, encryption)
    return content


PKCS12 = pkcs12.serialize_key_and_certificates(b"a", LEAF.key, LEAF.certificate, None, BestAvailableEncryption(b"x"))
FILES = {
    "CERTIFICATE": [LEAF.certificate.public_bytes(Encoding.DER), certificate(now=NOW).public_bytes(Encoding.DER)],
    "X509 CRL": [
        revocation_list(CA, now=NOW).public_bytes(Encoding.DER),
        revocation_list(CA, 1, 2, now=NOW).public_bytes(Encoding.DER),
    ],
    "PRIVATE KEY": [der_of(LEAF.key), der_of(RSA_KEY)],
    "ENCRYPTED PRIVATE KEY": [der_of(LEAF.key, passphrase=b"secret")],
    "RSA PRIVATE KEY": [der_of(RSA_KEY, PrivateFormat.TraditionalOpenSSL)],
    "EC PRIVATE KEY": [der_of(ec.generate_private_key(ec.SECP384R1()), PrivateFormat.TraditionalOpenSSL)],
    "PKCS12": [PKCS12, bytes.fromhex("30800201033080")],
    "PKCS7": [pkcs7.serialize_certificates([LEAF.certificate], Encoding.DER)],
}


@pytest.mark.parametrize(("label", "content"), [(label, one) for label, all_ in FILES.items() for one in all_])
def test_each_kind_of_file_has_its_label(label: str, content: bytes) -> None:
    """And comes out as one PEM block that holds exactly the file."""
    assert label_of(content) == label
    text = to_pem(content)
    assert text.startswith(f"-----BEGIN {label}-----\n".encode())
    assert unarmoured(text) == content


def test_pem_is_left_as_it_is() -> None:
    """Also with text around it."""
    for text in (LEAF.chain_pem.encode(), b"# ours\r\n" + LEAF.key_pem.encode(), b""):
        assert to_pem(text) == text


def test_a_text_in_utf_16_is_read() -> None:
    """As the Windows editor and PowerShell write it, with the mark in front."""
    text = LEAF.chain_pem.encode("utf-16")
    assert b"-----BEGIN CERTIFICATE-----" in to_pem(text)
    assert b"\0" not in to_pem(text)


@pytest.mark.parametrize(
    "content",
    [b"", b"0", b"\x30\x03\x02\x01\x07", b"\0" * 100, b"\x30\x84\xff\xff\xff\xff", PKCS12[:-1], PKCS12 + b"x"],
)
def test_what_is_not_recognised_stays(content: bytes) -> None:
    """For the PEM reader to refuse in its own words."""
    assert label_of(content) == ""
    assert to_pem(content) == content


def test_armour_has_lines_of_64() -> None:
    """RFC 7468 section 2: every line but the last has exactly 64 characters."""
    lines = armoured(b"x" * 100, "CERTIFICATE").decode().splitlines()
    assert [len(line) for line in lines[1:-1]] == [64, 64, 8]
    with pytest.raises(ValueError, match=r"."):
        unarmoured(b"-----BEGIN X-----\n\xff\n-----END X-----\n")


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(content: bytes) -> None:
    """No exception leaves, whatever the bytes."""
    assert isinstance(to_pem(content), bytes)
    try:
        _, start, end = read_element(content, 0)
    except (ValueError, IndexError):
        return
    assert 2 <= start <= end <= len(content)
