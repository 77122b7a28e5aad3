"""Creating the local CA, and issuing from it.

Laws of this module: a private key is returned to the caller once and kept nowhere; every issued certificate has a row
before anybody gets it.
"""

import ipaddress
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from aegis_site.kernel.certificates import describe
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from localca import profiles
from localca.models import CertificateAuthority, IssuedCertificate, Purpose
from localca.selectors import active_authority
from localca.validators import clean_common_name, clean_dns_name, clean_note, parse_subject_alt_names

logger = logging.getLogger(__name__)

T = TypeVar("T")

_EXTENDED_KEY_USAGES = {
    Purpose.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH,
    Purpose.SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
}


class IssuanceError(AegisError):
    """The local CA cannot issue what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedBundle:
    """A new certificate with its private key.

    `chain_pem` is what to present: the leaf, then intermediates, without the root. `key_pem` is unencrypted PKCS#8 PEM.
    """

    record: IssuedCertificate
    chain_pem: str
    key_pem: bytes = field(repr=False)


def ensure_authority() -> CertificateAuthority:
    """The active CA; created by the first call.

    Safe when many processes call it at once: the database admits one active CA, and the others take that one.
    """
    if authority := active_authority():
        return authority
    identifier = uuid.uuid4()
    root = profiles.build_root(common_name=f"Aegis Local CA {identifier.hex[:8]}", now=timezone.now())
    authority = CertificateAuthority(
        id=identifier,
        certificate_pem=profiles.certificate_to_pem(root.certificate),
        private_key=Sealed.of(profiles.key_to_pem(root.key)),
    )
    authority.clean_fields()
    try:
        with transaction.atomic():
            authority.save(force_insert=True)
    except IntegrityError:
        winner = active_authority()
        if winner is None:
            raise
        return winner
    logger.info("created the local CA %s, SHA-256 fingerprint %s", authority, authority.facts.fingerprint_sha256)
    return authority


def issue_client_certificate(*, common_name: str, issued_for: str = "") -> IssuedBundle:
    """Issue a certificate that Aegis presents to upstreams.

    A common name that is a DNS name or an IP address is also the subject alternative name; any other text gets the
    record's `urn:uuid:`, because careful peers refuse certificates without one. Raises ValidationError (`common_name`,
    `issued_for`), IssuanceError, and SecretUnreadable when the CA's key does not open.
    """
    subject = _checked("common_name", lambda: clean_common_name(common_name))
    record_id = uuid.uuid4()
    return _issue(
        purpose=Purpose.CLIENT,
        common_name=subject,
        names=[_name_of_client(subject, record_id)],
        issued_for=issued_for,
        record_id=record_id,
    )


def issue_server_certificate(*, common_name: str, subject_alt_names: list[str], issued_for: str = "") -> IssuedBundle:
    """Issue a certificate for a TLS server. `subject_alt_names` are `DNS:name` and `IP:address`; at least one.

    Raises ValidationError (`common_name`, `subject_alt_names`, `issued_for`), IssuanceError, and SecretUnreadable when
    the CA's key does not open.
    """
    return _issue(
        purpose=Purpose.SERVER,
        common_name=_checked("common_name", lambda: clean_common_name(common_name)),
        names=_checked("subject_alt_names", lambda: parse_subject_alt_names(subject_alt_names)),
        issued_for=issued_for,
        record_id=uuid.uuid4(),
    )


@transaction.atomic
def _issue(
    *, purpose: Purpose, common_name: str, names: list[x509.GeneralName], issued_for: str, record_id: uuid.UUID
) -> IssuedBundle:
    authority = ensure_authority()
    key = profiles.generate_key()
    try:
        leaf = profiles.build_leaf(
            issuer=_issuer(authority),
            purpose=_EXTENDED_KEY_USAGES[purpose],
            common_name=common_name,
            names=names,
            public_key=key.public_key(),
            now=timezone.now(),
        )
    except profiles.ProfileError as error:
        raise IssuanceError("issuance_failed", f"The local CA cannot issue this certificate: {error}.") from error
    facts = describe(leaf)
    record = IssuedCertificate(
        id=record_id,
        authority=authority,
        purpose=purpose,
        subject=facts.subject,
        serial_number=facts.serial_number,
        not_before=facts.not_before,
        not_after=facts.not_after,
        fingerprint_sha256=facts.fingerprint_sha256,
        certificate_pem=profiles.certificate_to_pem(leaf),
        issued_for=_checked("issued_for", lambda: clean_note(issued_for)),
    )
    record.full_clean()
    record.save(force_insert=True)
    logger.info("issued %s certificate %s, serial number %s", purpose, facts.subject, facts.serial_number)
    return IssuedBundle(record=record, chain_pem=record.certificate_pem, key_pem=profiles.key_to_pem(key))


def _issuer(authority: CertificateAuthority) -> profiles.Issuer:
    key = load_pem_private_key(authority.private_key.reveal(), password=None)
    return profiles.Issuer(certificate=authority.certificate, key=cast("ec.EllipticCurvePrivateKey", key))


def _name_of_client(common_name: str, record_id: uuid.UUID) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(common_name))
    except ValueError:
        pass  # not an address
    try:
        return x509.DNSName(clean_dns_name(common_name))
    except ValidationError:
        return x509.UniformResourceIdentifier(record_id.urn)


def _checked(field_name: str, clean: Callable[[], T]) -> T:
    """What `clean` returns; its ValidationError keyed by the field."""
    try:
        return clean()
    except ValidationError as error:
        raise ValidationError({field_name: error.error_list}) from error
