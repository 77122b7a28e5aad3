"""How expensive a passphrase may be to try."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from upstream_tls.tls.derivation import MAX_ITERATIONS, check_derivation_cost
from upstream_tls.tls.pem import CredentialProblem, PEMBlock

PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
PBES2 = bytes.fromhex("06092a864886f70d01050d")
SCRYPT = bytes.fromhex("06092b06010401da47040b")
AES_256_CBC = bytes.fromhex("060960864801650304012a")


def element(tag: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    return bytes([tag, 0x82]) + len(value).to_bytes(2, "big") + value


def sequence(*parts: bytes) -> bytes:
    return element(0x30, *parts)


def integer(value: int) -> bytes:
    return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encrypted(derivation: bytes, *costs: int) -> PEMBlock:
    """An encrypted key whose passphrase is stretched as told; it would not open."""
    parameters = sequence(element(0x04, b"salt" * 4), *map(integer, costs))
    algorithm = sequence(
        PBES2, sequence(sequence(derivation, parameters), sequence(AES_256_CBC, element(0x04, b"i" * 16)))
    )
    return block_of(sequence(algorithm, element(0x04, b"x" * 64)))


def block_of(der: bytes) -> PEMBlock:
    label = "ENCRYPTED PRIVATE KEY"
    body = base64.encodebytes(der)
    return PEMBlock(label, b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), body, label.encode()))


@pytest.mark.parametrize(
    "block",
    [
        encrypted(PBKDF2, MAX_ITERATIONS),
        encrypted(PBKDF2, 600_000, 32),
        encrypted(SCRYPT, 2**14, 8, 1),
        PEMBlock("RSA PRIVATE KEY", b"whatever"),
    ],
)
def test_ordinary_keys_pass(block: PEMBlock) -> None:
    """OpenSSL's and OWASP's parameters are admitted, and so is what is not encrypted PKCS#8."""
    check_derivation_cost(block)


def test_a_key_that_a_library_wrote_passes() -> None:
    """The reader understands real files."""
    encryption = BestAvailableEncryption(b"a passphrase")
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    check_derivation_cost(PEMBlock("ENCRYPTED PRIVATE KEY", pem))


@pytest.mark.parametrize(
    "block",
    [
        encrypted(PBKDF2, MAX_ITERATIONS + 1),
        encrypted(PBKDF2, 2**62, 32),
        encrypted(SCRYPT, 2**20, 8, 1),
        encrypted(SCRYPT, 2**14, 8, 1000),
    ],
)
def test_a_crafted_key_cannot_hold_a_process(block: PEMBlock) -> None:
    """Too many iterations, too much memory and too much parallel work are refused before they are spent."""
    with pytest.raises(CredentialProblem, match="stretched too often") as caught:
        check_derivation_cost(block)
    assert caught.value.code == "bad_pem"


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x05\x02\x01",
        b"\x02\x01\x01",
        sequence(integer(1)),
        sequence(sequence(b"\x02\x7f")),
    ],
)
def test_what_cannot_be_read_is_refused(der: bytes) -> None:
    """A cost that is hidden in malformed DER counts as too high."""
    with pytest.raises(CredentialProblem, match="damaged or incomplete"):
        check_derivation_cost(block_of(der))
