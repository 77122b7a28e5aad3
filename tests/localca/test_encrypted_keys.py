"""Encrypted PKCS#8, as others read it."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from localca.authority_material import read_private_key
from localca.encrypted_keys import ROUNDS, encrypted_pem
from localca.keys import KeyType, generate_key


@pytest.mark.parametrize("key_type", [KeyType.EC_P256, KeyType.RSA_2048])
def test_a_key_under_a_passphrase(key_type: KeyType) -> None:
    """Read back by `cryptography`, and by what reads the keys of CAs; with another passphrase by neither."""
    key = generate_key(key_type)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    pem = encrypted_pem(der, passphrase="päßphrase".encode())
    assert all(len(line) <= 64 for line in pem.splitlines())
    for opened in (
        load_pem_private_key(pem, "päßphrase".encode()),
        read_private_key(pem.decode(), passphrase="päßphrase"),
    ):
        assert opened.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == der
    with pytest.raises(ValueError, match=r"Incorrect password|Invalid password"):
        load_pem_private_key(pem, b"another")


def test_the_same_key_never_looks_the_same() -> None:
    """Salt and vector are new each time."""
    assert encrypted_pem(b"x" * 40, passphrase=b"secret") != encrypted_pem(b"x" * 40, passphrase=b"secret")
    assert ROUNDS >= 600_000
