"""Opens PKCS#12 files (.p12, .pfx): a certificate, its chain and its key, under one passphrase.

Laws of this module: whatever the file, the answer is there within about a second, and neither time nor memory of this
process pays for it (`upstream_tls.tls.pkcs12_child`). What comes out is text for the ordinary PEM readers to check.
"""

import subprocess
import sys
from dataclasses import dataclass, field

from upstream_tls.tls import pkcs12_child
from upstream_tls.tls.pem import CredentialProblem, split_pem

# A key, a certificate and three intermediates take 10 KiB.
MAX_PKCS12_BYTES = 128 * 1024

# The CPU limit decides; this is for a machine that gives the child no CPU at all.
_WALL_LIMIT_S = 15.0


@dataclass(frozen=True, slots=True)
class PKCS12Content:
    """What a file held, as PEM: all certificates, the key's own first, and the key, unencrypted PKCS#8."""

    certificates_pem: bytes
    key_pem: bytes = field(repr=False)


def open_pkcs12(content: bytes, passphrase: bytes) -> PKCS12Content:
    """Raises CredentialProblem: `key_encrypted`, `key_wrong_passphrase`, or `bad_pem` for what cannot be used."""
    if len(content) > MAX_PKCS12_BYTES:
        raise CredentialProblem("bad_pem", f"The PKCS#12 file is larger than {MAX_PKCS12_BYTES // 1024} KiB.")
    blocks = split_pem(_open(content, passphrase))
    key = b"".join(block.text for block in blocks if block.is_private_key)
    certificates = b"".join(block.text for block in blocks if block.is_certificate)
    if not key or not certificates:
        missing = "private key" if certificates else "certificate"
        raise CredentialProblem("bad_pem", f"The PKCS#12 file holds no {missing}.")
    return PKCS12Content(certificates, key)


def _open(content: bytes, passphrase: bytes) -> bytes:
    command = [sys.executable, "-I", pkcs12_child.__file__]
    request = len(passphrase).to_bytes(4, "big") + passphrase + content
    try:
        child = subprocess.run(command, input=request, capture_output=True, timeout=_WALL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise _too_expensive() from error.__cause__
    if child.returncode == 0:
        return child.stdout
    if child.returncode != pkcs12_child.REFUSED:
        raise _too_expensive()
    if not passphrase:
        raise CredentialProblem("key_encrypted", "This PKCS#12 file is encrypted: its passphrase is needed.")
    raise CredentialProblem("key_wrong_passphrase", "The passphrase does not open this PKCS#12 file.")


def _too_expensive() -> CredentialProblem:
    return CredentialProblem(
        "bad_pem", "This PKCS#12 file takes too long to open: export it again with fewer iterations."
    )
