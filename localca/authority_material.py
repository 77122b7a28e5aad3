"""Reads the certificates and the private key of a CA that somebody brings along.

Laws of this module: no storage, no judgement of trust or time; refusals are django ValidationErrors whose texts hold
nothing of the input. Sizes, and what a passphrase costs to try, are checked before anything is decrypted.
"""

import base64
import re
from collections.abc import Iterator
from math import prod
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ValidationError

from localca.keys import KeyType, PrivateKey, UnsupportedKey, supported_key

MAX_CERTIFICATES = 6
MAX_CHAIN_BYTES = 64 * 1024
MAX_KEY_BYTES = 16 * 1024

# OpenSSL writes 2048 iterations, OWASP asks for 600 000. A crafted key could hold a process for hours.
MAX_ITERATIONS = 2_000_000
# N * r * p of scrypt (RFC 7914). OpenSSL writes 2^14 * 8 * 1, which takes 16 MiB; this bound takes 128 MiB.
MAX_SCRYPT_COST = 2**20

# Many TLS stacks verify no certificate that an Ed25519 CA signed.
AUTHORITY_KEY_TYPES = tuple(kind for kind in KeyType if kind is not KeyType.ED25519)

_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----(.*?)-----END ENCRYPTED PRIVATE KEY-----", re.DOTALL)
_SCRYPT_OID = bytes.fromhex("06092b06010401da47040b")
_INTEGER, _CONSTRUCTED = 0x02, 0x20


def read_certificates(text: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, as they stand, without repetition; at least one. Raises ValidationError."""
    pem = text.encode("utf-8", "replace")
    if len(pem) > MAX_CHAIN_BYTES:
        raise ValidationError(f"More than {MAX_CHAIN_BYTES // 1024} KiB.", code="max_length")
    if b"PRIVATE KEY-----" in pem:
        raise ValidationError("This holds a private key: only certificates belong here.", code="pem_swapped")
    try:
        certificates = tuple(dict.fromkeys(x509.load_pem_x509_certificates(pem)))
        for certificate in certificates:
            # Loading parses the outside only; what is needed later must be readable now.
            _ = (certificate.subject, certificate.issuer, list(certificate.extensions), certificate.public_key())
    except _MALFORMED as error:
        raise ValidationError(
            "A certificate is missing, damaged or incomplete; PEM is needed.", code="bad_pem"
        ) from error
    if len(certificates) > MAX_CERTIFICATES:
        raise ValidationError(f"More than {MAX_CERTIFICATES} certificates are no chain.", code="max_length")
    return certificates


def read_private_key(text: str, *, passphrase: str = "") -> PrivateKey:
    """The private key of a PEM text; PKCS#8, PKCS#1 or SEC 1, encrypted or not.

    Raises ValidationError (`private_key`, or `passphrase` when that is what is wrong).
    """
    pem = text.encode("utf-8", "replace")
    if len(pem) > MAX_KEY_BYTES:
        raise _refused("private_key", f"More than {MAX_KEY_BYTES // 1024} KiB.", "max_length")
    if b"PRIVATE KEY-----" not in pem:
        raise _refused("private_key", "This is no private key in PEM.", "bad_pem")
    _check_cost(pem)
    is_encrypted = b"ENCRYPTED" in pem
    if is_encrypted and not passphrase:
        raise _refused("passphrase", "This key is encrypted: its passphrase is needed.", "key_encrypted")
    try:
        key = load_pem_private_key(pem, passphrase.encode() if is_encrypted else None)
        _, key_type = supported_key(key.public_key())
    except UnsupportedKey as error:
        raise _refused("private_key", str(error), "unsupported_key") from error
    except _MALFORMED as error:
        if is_encrypted:
            raise _refused("passphrase", "The passphrase does not open this key.", "key_wrong_passphrase") from error
        raise _refused("private_key", "The private key is damaged or of another type.", "bad_pem") from error
    if key_type not in AUTHORITY_KEY_TYPES:
        text = f"A CA's key is one of {', '.join(AUTHORITY_KEY_TYPES)}."
        raise _refused("private_key", text, "unsupported_key")
    return cast("PrivateKey", key)


def _check_cost(pem: bytes) -> None:
    """Raises ValidationError when a passphrase is too expensive to try. The older PEM encryption hashes once."""
    found = _ENCRYPTED.search(pem)
    if found is None:
        return
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
        integers = list(_integers(der))
    except (ValueError, IndexError) as error:
        raise _refused("private_key", "The private key is damaged or incomplete.", "bad_pem") from error
    # The derivation stands first: its iterations, or scrypt's N, r and p.
    is_costly = _SCRYPT_OID in der and prod(integers[:3]) > MAX_SCRYPT_COST
    if is_costly or max(integers, default=0) > MAX_ITERATIONS:
        text = "The passphrase of this key is stretched too often: encrypt it with fewer iterations."
        raise _refused("private_key", text, "bad_pem")


def _integers(der: bytes) -> Iterator[int]:
    """All INTEGERs in `der`, in order, at any depth. What is constructed is entered, not stepped over."""
    at = 0
    while at < len(der):
        tag, length, start = der[at], der[at + 1], at + 2
        if length >= 0x80:
            octets = length & 0x7F
            if not 1 <= octets <= 4:
                raise ValueError("length is indefinite or absurd")
            length, start = int.from_bytes(der[start : start + octets], "big"), start + octets
        if start + length > len(der):
            raise ValueError("cut off")
        if tag == _INTEGER:
            yield int.from_bytes(der[start : start + length], "big")
        at = start if tag & _CONSTRUCTED else start + length


def _refused(field: str, text: str, code: str) -> ValidationError:
    return ValidationError({field: ValidationError(text, code=code)})
