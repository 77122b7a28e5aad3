"""Puts the certificates of a client into the order in which TLS sends them.

Laws of this module: certificates are compared and signatures checked; nothing here judges trust or time. Who signed a
certificate never changes, so what was found out of a pair is remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from upstream_tls.tls.credentials import certificate_spki_sha256
from upstream_tls.tls.pem import CredentialProblem

# Real chains have two to four; each certificate is tried as the issuer of each other.
MAX_CHAIN_CERTIFICATES = 20

# Fingerprints of certificate and issuer, and whether the signature is right: reports of many hosts ask the same of the
# same few CAs, and a check takes up to a millisecond. 1 MiB at most; forgotten as a whole when it is full.
_MAX_REMEMBERED_PAIRS = 4096
_remembered_pairs: dict[tuple[bytes, bytes], bool] = {}


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A chain in order, leaf first, and what was done to get there.

    `left_out` are certificates that do not belong to the leaf's chain, and `root` the self-signed end of it: the
    upstream has that one, or it would not trust it (RFC 8446 section 4.4.2 lets a sender omit it).
    """

    chain: tuple[x509.Certificate, ...]
    is_reordered: bool = False
    root: x509.Certificate | None = None
    left_out: tuple[x509.Certificate, ...] = ()


def arrange(certificates: Sequence[x509.Certificate], *, leaf_spki_sha256: str = "") -> Arrangement:
    """The leaf, then its issuer, then that one's, without repetition and without the root.

    `leaf_spki_sha256` is the fingerprint of the private key, which tells the leaf from all others; without one, the
    leaf is the certificate that issued none of the others. Raises CredentialProblem for too many certificates.
    """
    unique = list(dict.fromkeys(certificates))
    if len(unique) > MAX_CHAIN_CERTIFICATES:
        raise CredentialProblem(
            "bad_pem",
            f"A client certificate comes with a few intermediates; these are {len(unique)} certificates, "
            f"more than {MAX_CHAIN_CERTIFICATES}.",
        )
    leaf = _leaf(unique, leaf_spki_sha256)
    chain = [leaf]
    for certificate in chain:  # grows: each certificate is followed by all that issued it, cross-signed ones included
        chain.extend(found for found in unique if found not in chain and is_issued_by(certificate, found))
    roots = [certificate for certificate in chain[1:] if is_self_signed(certificate)]
    sent = tuple(certificate for certificate in chain if certificate not in roots)
    given = [certificate for certificate in unique if certificate in sent]
    return Arrangement(
        chain=sent,
        is_reordered=given != list(sent),
        root=roots[0] if roots else None,
        left_out=tuple(certificate for certificate in unique if certificate not in chain),
    )


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed `certificate`: names and signature."""
    if certificate.issuer != issuer.subject:
        return False
    pair = certificate.fingerprint(hashes.SHA256()), issuer.fingerprint(hashes.SHA256())
    if (is_issued := _remembered_pairs.get(pair)) is None:
        is_issued = _has_signed(issuer, certificate)
        if len(_remembered_pairs) >= _MAX_REMEMBERED_PAIRS:
            _remembered_pairs.clear()
        _remembered_pairs[pair] = is_issued
    return is_issued


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether the certificate is its own issuer, as roots are."""
    return is_issued_by(certificate, certificate)


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def _leaf(certificates: list[x509.Certificate], leaf_spki_sha256: str) -> x509.Certificate:
    with_key = [found for found in certificates if leaf_spki_sha256 and _is_of_key(found, leaf_spki_sha256)]
    issued_none = [
        found
        for found in certificates
        if not any(other is not found and is_issued_by(other, found) for other in certificates)
    ]
    return (with_key or issued_none or certificates)[0]


def _is_of_key(certificate: x509.Certificate, spki_sha256: str) -> bool:
    try:
        return certificate_spki_sha256(certificate) == spki_sha256
    except CredentialProblem:
        return False
