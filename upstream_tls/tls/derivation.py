"""Looks at how expensive it is to try a passphrase on an encrypted PKCS#8 key, before anyone tries.

The file itself says how often to iterate (RFC 8018), so a crafted key could hold a process for hours.
"""

from collections.abc import Iterator
from math import prod

from upstream_tls.tls.der import INTEGER, SEQUENCE, read_element, unarmoured
from upstream_tls.tls.pem import CredentialProblem, PEMBlock

# OpenSSL writes 2048 iterations, OWASP asks for 600 000 and more of SHA-1.
MAX_ITERATIONS = 2_000_000
# N * r * p of scrypt (RFC 7914). OpenSSL writes 2^14 * 8 * 1, which takes 16 MiB; this bound takes 128 MiB.
MAX_SCRYPT_COST = 2**20

_CONSTRUCTED = 0x20
_SCRYPT_OID = bytes.fromhex("06092b06010401da47040b")


def check_derivation_cost(block: PEMBlock) -> None:
    """Raises CredentialProblem `bad_pem` when a passphrase is too expensive to try, or when that cannot be read.

    Only encrypted PKCS#8 is looked at: the older PEM encryption hashes once.
    """
    if block.label != "ENCRYPTED PRIVATE KEY":
        return
    try:
        algorithm = _key_algorithm(block)
        integers = list(_integers(algorithm))
    except (IndexError, ValueError) as error:
        raise CredentialProblem("bad_pem", "The private key is damaged or incomplete.") from error
    # The key derivation stands first in the algorithm: its iterations, or scrypt's N, r and p.
    is_costly = bool(integers) and integers[0] > MAX_ITERATIONS
    if is_costly or (_SCRYPT_OID in algorithm and prod(integers[:3]) > MAX_SCRYPT_COST):
        raise CredentialProblem(
            "bad_pem", "The passphrase of this key is stretched too often: encrypt it with fewer iterations."
        )


def _key_algorithm(block: PEMBlock) -> bytes:
    """`encryptionAlgorithm` of EncryptedPrivateKeyInfo (RFC 5958 section 3), DER."""
    der = unarmoured(block.text)
    outer, start, _ = read_element(der, 0)
    inner, value, end = read_element(der, start)
    if outer != SEQUENCE or inner != SEQUENCE:
        raise ValueError("not an EncryptedPrivateKeyInfo")
    return der[value:end]


def _integers(der: bytes) -> Iterator[int]:
    """All INTEGERs in `der`, in order, at any depth. A constructed element is entered, not stepped over."""
    at = 0
    while at < len(der):
        tag, start, end = read_element(der, at)
        if tag == INTEGER:
            yield int.from_bytes(der[start:end], "big")
        at = start if tag & _CONSTRUCTED else end
