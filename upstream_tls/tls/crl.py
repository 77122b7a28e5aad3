"""Reads the certificate revocation lists that operators upload.

Laws of this module: the outcome is a value or a `CredentialProblem`; whether a list is current or fits a CA is the
lint's business.
"""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from upstream_tls.tls.pem import CredentialProblem, split_pem

RevocationLists = tuple[x509.CertificateRevocationList, ...]


def parse_crls(pem: bytes) -> RevocationLists:
    """The revocation lists in `pem`, at least one. Raises CredentialProblem."""
    blocks = split_pem(pem)
    if any(block.is_private_key for block in blocks):
        raise CredentialProblem("pem_swapped", "This holds a private key: only revocation lists belong here.")
    if strangers := sorted({block.label for block in blocks if not block.is_crl}):
        raise CredentialProblem("bad_pem", f"This holds a {strangers[0]}: only revocation lists belong here.")
    if not blocks:
        raise CredentialProblem("bad_pem", "This is not PEM: the line -----BEGIN X509 CRL----- is missing.")
    return tuple(_crl(block.text, number) for number, block in enumerate(blocks, start=1))


def crls_to_pem(crls: RevocationLists) -> str:
    """The revocation lists as canonical PEM."""
    return "".join(crl.public_bytes(Encoding.PEM).decode("ascii") for crl in crls)


def _crl(pem: bytes, number: int) -> x509.CertificateRevocationList:
    try:
        crl = x509.load_pem_x509_crl(pem)
        # Loading parses the outside only. OpenSSL reads the rest when the list is put to use, so it must do so now.
        crypto.X509Store().add_crl(crl)
        _ = (crl.issuer, crl.last_update_utc, crl.next_update_utc)
    except (ValueError, crypto.Error) as error:
        raise CredentialProblem("bad_pem", f"Revocation list {number} is damaged or incomplete.") from error
    return crl
