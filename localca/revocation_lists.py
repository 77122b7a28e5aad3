"""What a certificate revocation list of the local CA looks like (RFC 5280 section 5), and the proof that one does.

Laws of this module: no Django, no clock (time is an argument), no storage.
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

from localca.keys import signature_hash
from localca.profiles import Issuer, ProfileError


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One entry of a list."""

    serial_number: int
    revoked_at: datetime.datetime
    reason: x509.ReasonFlags


def build_revocation_list(
    *,
    issuer: Issuer,
    number: int,
    revocations: Iterable[Revocation],
    this_update: datetime.datetime,
    next_update: datetime.datetime,
) -> x509.CertificateRevocationList:
    """A complete list: no delta, no partition.

    Raises ProfileError when the list is not what the CA's certificate vouches for.
    """
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        # Both are what RFC 5280 section 5.2 demands of every list.
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    for revocation in revocations:
        builder = builder.add_revoked_certificate(_entry(revocation))
    revocation_list = builder.sign(issuer.key, signature_hash(issuer.key))
    public_key = issuer.certificate.public_key()
    if not revocation_list.is_signature_valid(public_key):  # type: ignore[arg-type]
        raise ProfileError("the CA's key is not the one of its certificate")
    return revocation_list


def _entry(revocation: Revocation) -> x509.RevokedCertificate:
    entry = (
        x509.RevokedCertificateBuilder().serial_number(revocation.serial_number).revocation_date(revocation.revoked_at)
    )
    # RFC 5280 section 5.3.1: "the reason code CRL entry extension SHOULD be absent instead of using the unspecified
    # (0) reasonCode value".
    if revocation.reason is not x509.ReasonFlags.unspecified:
        entry = entry.add_extension(x509.CRLReason(revocation.reason), critical=False)
    return entry.build()
