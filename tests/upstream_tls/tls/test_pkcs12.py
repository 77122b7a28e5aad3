"""PKCS#12 files."""

import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from tests.support.certificates import Authority
from tests.support.pkcs12_files import pkcs12_of, with_mac_iterations
from upstream_tls.tls.credentials import key_to_pem, parse_chain, parse_key
from upstream_tls.tls.pem import CredentialProblem
from upstream_tls.tls.pkcs12 import MAX_PKCS12_BYTES, open_pkcs12

CA = Authority("Orders CA")
ISSUING = Authority("Issuing CA", parent=CA)
LEAF = ISSUING.client("orders")
LEGACY = (
    PrivateFormat.PKCS12.encryption_builder()
    .kdf_rounds(2048)
    .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    .hmac_hash(hashes.SHA1())  # noqa: S303 (as the files of old have it)
    .build(b"a secret")
)


def file_of(encryption: KeySerializationEncryption) -> bytes:
    return pkcs12_of(LEAF, ISSUING.certificate, CA.certificate, encryption=encryption)


def problem_of(content: bytes, passphrase: bytes = b"") -> tuple[str, str]:
    with pytest.raises(CredentialProblem) as caught:
        open_pkcs12(content, passphrase)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("encryption", "passphrase"),
    [
        (BestAvailableEncryption(b"a secret"), b"a secret"),
        (BestAvailableEncryption("gehe\u00edm".encode()), "gehe\u00edm".encode()),
        (LEGACY, b"a secret"),
        (NoEncryption(), b""),
    ],
    ids=["AES", "not ASCII", "3DES", "none"],
)
def test_a_file_brings_certificate_chain_and_key(encryption: KeySerializationEncryption, passphrase: bytes) -> None:
    """Old and new encryption, and none."""
    found = open_pkcs12(file_of(encryption), passphrase)
    assert parse_chain(found.certificates_pem) == (LEAF.certificate, ISSUING.certificate, CA.certificate)
    assert key_to_pem(parse_key(found.key_pem)) == LEAF.key_pem.encode()
    assert "PRIVATE KEY" not in repr(found)


def test_a_passphrase_that_is_missing_or_wrong_has_its_code() -> None:
    """The same codes as for a key."""
    content = file_of(BestAvailableEncryption(b"a secret"))
    assert problem_of(content) == (
        "key_encrypted",
        "This PKCS#12 file is encrypted: its passphrase is needed.",
    )
    assert problem_of(content, b"wrong") == (
        "key_wrong_passphrase",
        "The passphrase does not open this PKCS#12 file.",
    )


def test_a_file_without_key_or_certificate_is_named() -> None:
    """As trust stores and key stores are."""
    encryption = BestAvailableEncryption(b"x")
    trust_store = pkcs12.serialize_key_and_certificates(None, None, None, [CA.certificate], encryption)
    assert problem_of(trust_store, b"x") == ("bad_pem", "The PKCS#12 file holds no private key.")
    alone = pkcs12.serialize_key_and_certificates(None, LEAF.key, None, None, encryption)
    assert problem_of(alone, b"x") == ("bad_pem", "The PKCS#12 file holds no certificate.")


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"\x30\x80\x02\x01\x03\x30\x80", file_of(NoEncryption())[:-9]])
def test_rubbish_does_not_open(content: bytes) -> None:
    """An empty file, zero bytes, half a file."""
    assert problem_of(content, b"x")[0] == "key_wrong_passphrase"


def test_a_crafted_file_costs_a_second_at_most() -> None:
    """The kernel ends the process that pays for the iterations; a large file is not even handed to it."""
    content = with_mac_iterations(file_of(BestAvailableEncryption(b"x")), 2**31 - 1)
    started = time.perf_counter()
    expected = ("bad_pem", "This PKCS#12 file takes too long to open: export it again with fewer iterations.")
    assert problem_of(content, b"x") == expected
    assert time.perf_counter() - started < 10  # 0.8 s of CPU time; asked for are hours
    assert problem_of(b"\x30" * (MAX_PKCS12_BYTES + 1)) == ("bad_pem", "The PKCS#12 file is larger than 128 KiB.")


def test_the_bound_leaves_room_for_strong_files() -> None:
    """600 000 iterations, as OWASP asks for, open."""
    strong = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(600_000).build(b"a secret")
    assert open_pkcs12(file_of(strong), b"a secret").key_pem
