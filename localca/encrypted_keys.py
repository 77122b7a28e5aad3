"""Writes private keys as encrypted PKCS#8 (RFC 5958) under PBES2 (RFC 8018).

Laws of this module: no Django, no storage. It is here because `cryptography` stretches the passphrase of PKCS#8 2048
times and takes no other figure. Every OpenSSL since 1.1.0, and whatever reads its files, reads these.
"""

import base64
import os
import textwrap

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

# OWASP's figure for PBKDF2-HMAC-SHA256; 0.1 s.
ROUNDS = 600_000

_SALT_BYTES, _KEY_BYTES, _BLOCK_BYTES = 16, 32, 16

# Object identifiers: pkcs5PBES2, pkcs5PBKDF2, hmacWithSHA256, aes256-CBC.
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d0209")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_NULL = bytes.fromhex("0500")
_INTEGER, _OCTET_STRING, _SEQUENCE = 0x02, 0x04, 0x30


def encrypted_pem(pkcs8: bytes, *, passphrase: bytes) -> bytes:
    """The PEM text of a private key that is given as PKCS#8 DER; AES-256 under 600 000 rounds of PBKDF2."""
    salt, vector = os.urandom(_SALT_BYTES), os.urandom(_BLOCK_BYTES)
    key = PBKDF2HMAC(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=salt, iterations=ROUNDS).derive(passphrase)
    padder = padding.PKCS7(8 * _BLOCK_BYTES).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    ciphertext = encryptor.update(padder.update(pkcs8) + padder.finalize()) + encryptor.finalize()
    rounds = _element(_INTEGER, ROUNDS.to_bytes(ROUNDS.bit_length() // 8 + 1, "big"))
    derivation = _sequence(_PBKDF2, _sequence(_element(_OCTET_STRING, salt), rounds, _sequence(_HMAC_SHA256, _NULL)))
    encryption = _sequence(_AES_256_CBC, _element(_OCTET_STRING, vector))
    algorithm = _sequence(_PBES2, _sequence(derivation, encryption))
    return _armoured(_sequence(algorithm, _element(_OCTET_STRING, ciphertext)))


def _armoured(der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), 64)
    name = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""]).encode("ascii")


def _sequence(*elements: bytes) -> bytes:
    return _element(_SEQUENCE, b"".join(elements))


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
