"""Types of keys, and how keys are written down."""

import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from localca.keys import (
    KeyType,
    PrivateKey,
    UnsupportedKey,
    generate_key,
    key_to_pem,
    key_to_pkcs12,
    signature_hash,
    supported_key,
)
from localca.profiles import build_root
from tests.support.peers import program


@pytest.mark.parametrize("key_type", KeyType)
def test_every_type_can_be_made_and_recognised(key_type: KeyType) -> None:
    """What is generated for a type is of that type, and PKCS#8 carries it."""
    key = generate_key(key_type)
    assert supported_key(key.public_key()) == (key.public_key(), key_type)
    loaded = load_pem_private_key(key_to_pem(key), password=None)
    assert loaded.public_key() == key.public_key()


def test_the_usual_type() -> None:
    """P-256 when nobody asks for anything else."""
    assert supported_key(generate_key().public_key())[1] == KeyType.EC_P256


# Made when they are wanted: it takes two seconds, and each test process reads this.
@pytest.mark.parametrize(
    "make_key",
    [
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 (that is the point)
        lambda: rsa.generate_private_key(3, 2048),
        lambda: dsa.generate_private_key(2048),
        ed448.Ed448PrivateKey.generate,
    ],
    ids=["P-521", "secp256k1", "RSA 1024", "RSA with exponent 3", "DSA", "Ed448"],
)
def test_keys_that_are_not_certified(make_key: Callable[[], ec.EllipticCurvePrivateKey]) -> None:
    """Weak and unusual keys are refused with the list of what is accepted."""
    key = make_key()
    with pytest.raises(UnsupportedKey, match="none of EC P-256, EC P-384, RSA 2048"):
        supported_key(key.public_key())


def test_an_encrypted_key_opens_with_its_passphrase_only() -> None:
    """PKCS#8 under a passphrase."""
    pem = key_to_pem(generate_key(), passphrase=b"correct horse")
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert load_pem_private_key(pem, password=b"correct horse")
    with pytest.raises(ValueError, match=r"[Ii]ncorrect password"):
        load_pem_private_key(pem, password=b"wrong horse")


def test_openssl_reads_what_is_written(tmp_path: Path) -> None:
    """OpenSSL's command opens the PKCS#12 file and the encrypted PEM."""
    openssl = program("openssl")
    issuer = build_root(common_name="root", now=datetime.datetime.now(datetime.UTC))
    content = key_to_pkcs12(
        issuer.key, certificate=issuer.certificate, issuers=[issuer.certificate], passphrase=b"correct horse"
    )
    assert pkcs12.load_pkcs12(content, b"correct horse").key is not None
    (tmp_path / "pair.p12").write_bytes(content)
    (tmp_path / "pair.key").write_bytes(key_to_pem(issuer.key, passphrase=b"correct horse"))
    for command in (["pkcs12", "-in", "pair.p12", "-noout"], ["pkey", "-in", "pair.key", "-noout"]):
        subprocess.run([openssl, *command, "-passin", "pass:correct horse"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "sha256"),
        (ec.generate_private_key(ec.SECP384R1()), "sha384"),
        (ed25519.Ed25519PrivateKey.generate(), None),
    ],
)
def test_what_signatures_are_made_with(key: PrivateKey, name: str | None) -> None:
    """As strong as the key; Ed25519 takes none."""
    found = signature_hash(key)
    assert (found.name if found else None) == name
