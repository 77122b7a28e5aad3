"""Keys of certificates: which types there are, making one, and writing one down.

Laws of this module: no Django, no storage. What is written unencrypted is for memory, or for the one caller who asked
for it.
"""

import enum
from collections.abc import Sequence
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from localca.encrypted_keys import ROUNDS, encrypted_pem

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

# FIPS 186-5 section 5.4: e is odd and greater than 2^16. Smaller ones have a history of forged signatures, and OpenSSL
# takes longer with larger ones than with a whole handshake.
_RSA_EXPONENT = 65537


class KeyType(enum.StrEnum):
    """What the local CA certifies: what every TLS stack in use verifies."""

    EC_P256 = "EC P-256"
    EC_P384 = "EC P-384"
    RSA_2048 = "RSA 2048"
    RSA_3072 = "RSA 3072"
    RSA_4096 = "RSA 4096"
    ED25519 = "Ed25519"


class UnsupportedKey(ValueError):
    """A key of a type that is not certified."""


_CURVES: dict[KeyType, type[ec.EllipticCurve]] = {KeyType.EC_P256: ec.SECP256R1, KeyType.EC_P384: ec.SECP384R1}
_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}


def generate_key(key_type: KeyType = KeyType.EC_P256) -> PrivateKey:
    """A new key; P-256 is the fastest in OpenSSL. RSA 4096 takes seconds: never hold a transaction open around it."""
    if curve := _CURVES.get(key_type):
        return ec.generate_private_key(curve())
    if bits := _RSA_BITS.get(key_type):
        return rsa.generate_private_key(_RSA_EXPONENT, bits)
    return ed25519.Ed25519PrivateKey.generate()


def supported_key(key: object) -> tuple[PublicKey, KeyType]:
    """The public key with its type. Raises UnsupportedKey, with a text that is safe to show."""
    match key:
        case ec.EllipticCurvePublicKey():
            for key_type, curve in _CURVES.items():
                if isinstance(key.curve, curve):
                    return key, key_type
        case rsa.RSAPublicKey() if key.public_numbers().e == _RSA_EXPONENT:
            for key_type, bits in _RSA_BITS.items():
                if key.key_size == bits:
                    return key, key_type
        case ed25519.Ed25519PublicKey():
            return key, KeyType.ED25519
    raise UnsupportedKey(f"The key is none of {', '.join(KeyType)}; an RSA key has the exponent {_RSA_EXPONENT}.")


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """What to sign with: P-384 is as strong as SHA-384, Ed25519 hashes by itself."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    is_p384 = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)
    return hashes.SHA384() if is_p384 else hashes.SHA256()


def key_to_pem(key: PrivateKey, *, passphrase: bytes = b"") -> bytes:
    """The private key as PKCS#8 PEM, encrypted when there is a passphrase."""
    encoding = serialization.Encoding.DER if passphrase else serialization.Encoding.PEM
    content = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return encrypted_pem(content, passphrase=passphrase) if passphrase else content


def key_to_pkcs12(
    key: PrivateKey, *, certificate: x509.Certificate, issuers: Sequence[x509.Certificate], passphrase: bytes
) -> bytes:
    """Certificate, issuers and key as a PKCS#12 file; AES-256 as OpenSSL 3, Windows Server 2019 and Java 8u301 read."""
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(passphrase)
    )
    return pkcs12.serialize_key_and_certificates(None, key, certificate, issuers, encryption)
