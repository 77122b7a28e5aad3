"""PKCS#12 files for tests, also one that costs more to open than it is worth."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, KeySerializationEncryption, pkcs12

from tests.support.certificates import Leaf
from upstream_tls.tls.der import read_element

SECRET = "a secret"


def pkcs12_of(leaf: Leaf, *others: x509.Certificate, encryption: KeySerializationEncryption | None = None) -> bytes:
    """The leaf with its key and other certificates; opens with SECRET unless encrypted otherwise."""
    chain: Sequence[x509.Certificate] = others
    encryption = encryption or BestAvailableEncryption(SECRET.encode())
    return pkcs12.serialize_key_and_certificates(b"test", leaf.key, leaf.certificate, chain, encryption)


def with_mac_iterations(content: bytes, count: int) -> bytes:
    """The same file, whose integrity check is to be stretched this often; the count stands at its very end."""
    tag, start, _ = read_element(content, 0)
    _, _, version_end = read_element(content, start)
    _, _, contents_end = read_element(content, version_end)
    mac = content[contents_end:]
    assert mac.endswith(b"\x02\x02\x08\x00")
    mac = mac[:-4] + b"\x02\x04" + count.to_bytes(4, "big")
    mac = bytes([mac[0], mac[1] + 2]) + mac[2:]
    body = content[start:contents_end] + mac
    return bytes([tag, 0x82]) + len(body).to_bytes(2, "big") + body
