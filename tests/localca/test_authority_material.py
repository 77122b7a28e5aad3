"""What is read of certificates and keys that somebody brings along, and how each mistake is told."""

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from django.core.exceptions import ValidationError

from localca.authority_material import MAX_CHAIN_BYTES, MAX_KEY_BYTES, read_certificates, read_private_key
from localca.keys import PrivateKey, generate_key
from tests.support.certificates import Authority
from tests.support.peers import program

KEY = generate_key()
CA = Authority()


def written(key: PrivateKey = KEY, *, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: str = "") -> str:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption).decode()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("passphrase", ["", "a secret"])
def test_keys(form: PrivateFormat, passphrase: str) -> None:
    """Old and new forms, encrypted and not; a passphrase that is not needed does no harm."""
    pem = written(form=form, passphrase=passphrase)
    assert read_private_key(pem, passphrase=passphrase or "not needed").public_key() == KEY.public_key()


def stretched(iterations: int) -> str:
    """An encrypted key that says that its passphrase is stretched so often; 2048 is what it really is."""
    pem = written(passphrase="a secret")
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    assert der.count(b"\x02\x02\x08\x00") == 1
    changed = der.replace(b"\x02\x02\x08\x00", b"\x02\x04" + iterations.to_bytes(4, "big"))
    grown = bytearray(changed)
    grown[2] += 2  # the outer length, of the long form
    for at in (4, 19, 32):  # the sequences around the number, as OpenSSL writes them
        grown[at] += 2
    body = base64.encodebytes(bytes(grown)).decode()
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n"


def test_keys_that_scrypt_protects(tmp_path: Path) -> None:
    """As OpenSSL writes them they open; with a cost that would take a gigabyte they are not tried."""
    (tmp_path / "key.pem").write_text(written())
    command = [program("openssl"), "pkcs8", "-topk8", "-in", "key.pem", "-scrypt", "-passout", "pass:a secret"]

    def stretched_by(n: int) -> str:
        return subprocess.run(
            [*command, "-scrypt_N", str(n)], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert read_private_key(stretched_by(1 << 14), passphrase="a secret").public_key() == KEY.public_key()
    pem = stretched_by(1 << 14)
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    costly = der.replace(b"\x02\x02\x40\x00", b"\x02\x02\x7f\xff")
    costly = costly.replace(b"\x02\x01\x08", b"\x02\x01\x7f")
    assert costly != der
    body = base64.encodebytes(costly).decode()
    with pytest.raises(ValidationError, match="is stretched too often"):
        read_private_key(
            f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n",
            passphrase="a secret",
        )


@pytest.mark.parametrize(
    ("text", "passphrase", "field", "code"),
    [
        ("", "", "private_key", "bad_pem"),
        (CA.pem, "", "private_key", "bad_pem"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "", "private_key", "bad_pem"),
        ("x" * (MAX_KEY_BYTES + 1), "", "private_key", "max_length"),
        (written(passphrase="a secret"), "", "passphrase", "key_encrypted"),
        (written(passphrase="a secret"), "another", "passphrase", "key_wrong_passphrase"),
        (written(ec.generate_private_key(ec.SECP256K1())), "", "private_key", "unsupported_key"),
        (written(ed25519.Ed25519PrivateKey.generate()), "", "private_key", "unsupported_key"),
        (stretched(0x7FFFFFFF), "a secret", "private_key", "bad_pem"),
    ],
)
def test_keys_that_are_refused(text: str, passphrase: str, field: str, code: str) -> None:
    """At once, at the field that is wrong, without any of the input."""
    with pytest.raises(ValidationError) as raised:
        read_private_key(text, passphrase=passphrase)
    (error,) = raised.value.error_dict[field]
    assert error.code == code
    assert passphrase not in str(raised.value) or not passphrase


def test_certificates() -> None:
    """In order, without repetition."""
    other = Authority("Other")
    assert read_certificates(CA.pem + other.pem + CA.pem) == (CA.certificate, other.certificate)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_pem"),
        ("nonsense", "bad_pem"),
        (CA.pem.replace("M", "Z", 1), "bad_pem"),
        (CA.pem + written(), "pem_swapped"),
        ("x" * (MAX_CHAIN_BYTES + 1), "max_length"),
        ("".join(Authority(str(number)).pem for number in range(7)), "max_length"),
    ],
)
def test_certificates_that_are_refused(text: str, code: str) -> None:
    """With a code and a text that holds nothing of the input."""
    with pytest.raises(ValidationError) as raised:
        read_certificates(text)
    assert raised.value.code == code
