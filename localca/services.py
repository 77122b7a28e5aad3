"""Creating the local CA, and issuing from it.

Laws of this module: a private key is returned to the caller once and kept nowhere; every issued certificate has a row
before anybody gets it; a row outlives every need to revoke its certificate.
"""

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.services import record as record_change
from aegis_site.kernel.certificates import describe
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, tell
from localca import profiles
from localca.keys import KeyType, PrivateKey, PublicKey, UnsupportedKey, generate_key, key_to_pem, supported_key
from localca.models import CERTIFICATE_TYPE, CertificateAuthority, IssuedCertificate, Purpose, RevocationReason, Status
from localca.orders import (
    EXTENDED_KEY_USAGES,
    NOT_PERMITTED,
    Content,
    Order,
    content_of,
    content_of_successor,
    not_permitted,
)
from localca.revocation import audit_authority, is_named, lock_authority, publish_list, revoke_certificate
from localca.selectors import active_authority
from localca.signing_requests import SigningRequest, read_signing_request

logger = logging.getLogger(__name__)

T = TypeVar("T")


class IssuanceError(AegisError):
    """The local CA cannot issue what was asked for."""


class StillNeeded(AegisError):
    """A certificate's row cannot be deleted yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedBundle:
    """A new certificate with its private key, which is None when the certificate answers a signing request.

    `chain_pem` is what to present: the leaf, then intermediates, without the root.
    """

    record: IssuedCertificate
    key: PrivateKey | None = field(repr=False)

    @property
    def chain_pem(self) -> str:
        return self.record.chain_pem

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM; empty without one."""
        return key_to_pem(self.key) if self.key else b""


def ensure_authority() -> CertificateAuthority:
    """The active CA; created by the first call, with its first revocation list.

    Safe when many processes call it at once: the database admits one active CA, and the others take that one.
    """
    if authority := active_authority():
        return authority
    identifier = uuid.uuid4()
    root = profiles.build_root(common_name=f"Aegis Local CA {identifier.hex[:8]}", now=timezone.now())
    authority = CertificateAuthority(
        id=identifier,
        certificate_pem=profiles.certificate_to_pem(root.certificate),
        private_key=Sealed.of(key_to_pem(root.key)),
    )
    authority.clean_fields()
    try:
        with transaction.atomic():
            authority.save(force_insert=True)
            publish_list(authority)
            audit_authority(authority, action="created", before={}, user=None)
    except IntegrityError:
        winner = active_authority()
        if winner is None:
            raise
        return winner
    logger.info("created the local CA %s, SHA-256 fingerprint %s", authority, authority.facts.fingerprint_sha256)
    return authority


@contextmanager
def nobody_chose() -> Iterator[None]:
    """For certificates whose purpose and names no user entered: that the CA does not permit them is then no error of a
    field, but an IssuanceError (`not_permitted`)."""
    try:
        yield
    except ValidationError as error:
        problems = [
            problem for found in error.error_dict.values() for problem in found if problem.code == NOT_PERMITTED
        ]
        if not problems:
            raise
        raise _not_permitted(problems) from error


def issue_client_certificate(*, common_name: str, issued_for: str = "", user: Actor | None = None) -> IssuedBundle:
    """Issue a certificate that Aegis presents to upstreams. As `issue_certificate`, with all that is usual.

    What the CA does not permit is an IssuanceError, as of the next one.
    """
    order = Order(purpose=Purpose.CLIENT, common_name=common_name, issued_for=issued_for)
    with nobody_chose():
        return issue_certificate(order=order, user=user)


def issue_server_certificate(
    *, common_name: str, subject_alt_names: list[str], issued_for: str = "", user: Actor | None = None
) -> IssuedBundle:
    """Issue a certificate for a TLS server. As `issue_certificate`, with all that is usual."""
    order = Order(
        purpose=Purpose.SERVER,
        common_name=common_name,
        subject_alt_names=tuple(subject_alt_names),
        issued_for=issued_for,
    )
    with nobody_chose():
        return issue_certificate(order=order, user=user)


def issue_certificate(*, order: Order, user: Actor | None, key: PrivateKey | None = None) -> IssuedBundle:
    """Issue a certificate for a new key, or for the key of a signing request.

    `key` is a new one that the caller has made, as `order.key_type` says, before a transaction of its own began.

    A server certificate needs a subject alternative name. A client certificate without one gets its common name when
    that is a DNS name or an IP address, else its record's `urn:uuid:`, because careful peers refuse certificates
    without; under name constraints the first of these that is permitted. Raises ValidationError keyed by the order's
    fields (`not_permitted` for what the CA's certificate, or one above, does not permit), IssuanceError, and
    SecretUnreadable when the CA's key does not open.
    """
    request = _request_of(order.csr)
    content = content_of(order, request, authority=ensure_authority())
    public_key, key = (key.public_key(), key) if key else _keys(request, order.key_type)
    return _issued(content, public_key=public_key, key=key, user=user)


def renew_certificate(
    *, certificate: IssuedCertificate, csr: str = "", revoke_old: bool = False, user: Actor | None
) -> IssuedBundle:
    """Issue the successor: same subject, names, purpose, type of key and length of validity, but another key.

    The old certificate stays valid, so that both work while the new one is rolled out, unless `revoke_old`. Raises
    ValidationError (`csr`), IssuanceError (`certificate_revoked`, `already_renewed`, `not_permitted` by the CA that
    issues now, `issuance_failed`), RevocationError, and SecretUnreadable when the CA's key does not open.
    """
    request = _request_of(csr)
    if request and request.public_key == certificate.certificate.public_key():
        raise ValidationError(
            {"csr": ValidationError("A renewal is for another key, this is the old one.", code="same_key")}
        )
    _check_renewable(certificate)
    content = content_of_successor(certificate)
    if problems := not_permitted(content, authority=ensure_authority()):
        raise _not_permitted([problem for found in problems.values() for problem in found])
    public_key, key = _keys(request, _key_type_of(certificate))
    with transaction.atomic():
        bundle = _issued(content, public_key=public_key, key=key, user=user)
        if revoke_old and certificate.status == Status.VALID:
            revoke_certificate(certificate=certificate, reason=RevocationReason.SUPERSEDED, user=user)
        tell(_renewal(certificate, bundle.record, is_revoked=revoke_old))
    return bundle


def _renewal(old: IssuedCertificate, new: IssuedCertificate, *, is_revoked: bool) -> Event:
    return Event(
        kind=EventKind.ROTATION,
        subject=f"certificate:{old.pk}",
        group=f"certificate:{old.pk}",
        title=f"The certificate {new.subject} was renewed",
        at=timezone.now(),
        text="The old one is revoked." if is_revoked else f"The old one stays valid until {old.not_after:%Y-%m-%d}.",
        path=admin_page(new),
    )


@transaction.atomic
def delete_certificate(*, certificate: IssuedCertificate, user: Actor | None) -> None:
    """Forget an expired certificate. Raises StillNeeded (`certificate_valid`, `certificate_on_crl`) before that."""
    lock_authority(certificate.authority_id)
    stored = IssuedCertificate.objects.select_related("authority").get(pk=certificate.pk)
    if (refusal := why_needed(stored)) is not None:
        raise refusal
    _audit(stored, action="deleted", before=stored.summary(), after={}, user=user)
    stored.delete()


def why_needed(certificate: IssuedCertificate) -> StillNeeded | None:
    """Why a certificate cannot be deleted yet; None when it can, and from then on. One query if it is revoked."""
    if certificate.status == Status.VALID:
        return StillNeeded(
            "certificate_valid",
            "This certificate is valid; once forgotten, it could never be revoked. Wait until it has expired.",
        )
    if certificate.status == Status.REVOKED and is_named(certificate):
        return StillNeeded(
            "certificate_on_crl",
            "This certificate is revoked, and the revocation list has to name it until a day after it expires.",
        )
    return None


def _request_of(csr: str) -> SigningRequest | None:
    return _checked("csr", lambda: read_signing_request(csr)) if csr else None


def _keys(request: SigningRequest | None, key_type: KeyType) -> tuple[PublicKey, PrivateKey | None]:
    """The key to certify, and its private key when it is made here. RSA takes seconds: not in a transaction."""
    if request:
        return request.public_key, None
    key = generate_key(key_type)
    return key.public_key(), key


def _check_renewable(certificate: IssuedCertificate) -> None:
    """Raises IssuanceError."""
    if certificate.status == Status.REVOKED:
        message = "This certificate was revoked: its successor would undo that. Issue a new certificate instead."
        raise IssuanceError("certificate_revoked", message)
    if successor := certificate.successor:
        message = f"This certificate was renewed already, by {successor.pk}: renew that one."
        raise IssuanceError("already_renewed", message)


def _not_permitted(problems: Sequence[ValidationError]) -> IssuanceError:
    return IssuanceError(NOT_PERMITTED, " ".join(str(problem.message) for problem in problems).removesuffix("."))


def _key_type_of(certificate: IssuedCertificate) -> KeyType:
    try:
        return supported_key(certificate.certificate.public_key())[1]
    except UnsupportedKey as error:
        raise IssuanceError("issuance_failed", str(error)) from error


@transaction.atomic
def _issued(content: Content, *, public_key: PublicKey, key: PrivateKey | None, user: Actor | None) -> IssuedBundle:
    """Signs, proves and records."""
    if content.renewed_from:
        # Of two who renew at once the second waits here, and then finds that it was done.
        lock_authority(content.renewed_from.authority_id)
        _check_renewable(IssuedCertificate.objects.for_display().get(pk=content.renewed_from.pk))
    authority = _lock_issuing_authority()
    leaf = _signed(authority, content, public_key)
    facts = describe(leaf)
    record = IssuedCertificate(
        id=content.record_id,
        authority=authority,
        purpose=content.purpose,
        subject=facts.subject,
        serial_number=facts.serial_number,
        not_before=facts.not_before,
        not_after=facts.not_after,
        fingerprint_sha256=facts.fingerprint_sha256,
        certificate_pem=profiles.certificate_to_pem(leaf),
        issued_for=content.issued_for,
        renewed_from=content.renewed_from,
    )
    record.full_clean()
    record.save(force_insert=True)
    action = "renewed" if content.renewed_from else "issued"
    _audit(record, action=action, before={}, after=record.summary(), user=user)
    logger.info("%s %s certificate %s, serial number %s", action, content.purpose, facts.subject, facts.serial_number)
    return IssuedBundle(record=record, key=key)


def _lock_issuing_authority() -> CertificateAuthority:
    """The active CA, held until the transaction ends.

    Whoever replaces, retires or revokes it waits, and then sees what was issued here. CAs are always locked from the
    older to the newer, and the active one is the newest.
    """
    while not (locked := lock_authority(ensure_authority().pk)).is_active:
        pass  # somebody has put another one in charge while this transaction waited
    return locked


def _signed(authority: CertificateAuthority, content: Content, public_key: PublicKey) -> x509.Certificate:
    try:
        return profiles.build_leaf(
            issuer=authority.issuer(),
            purpose=EXTENDED_KEY_USAGES[content.purpose],
            common_name=content.common_name,
            names=content.names,
            public_key=public_key,
            now=timezone.now(),
            validity=content.validity,
        )
    except profiles.ProfileError as error:
        raise IssuanceError("issuance_failed", f"The local CA cannot issue this certificate: {error}.") from error


def _audit(
    certificate: IssuedCertificate,
    *,
    action: str,
    before: dict[str, object],
    after: dict[str, object],
    user: Actor | None,
) -> None:
    record_change(
        user=user,
        action=action,
        target_type=CERTIFICATE_TYPE,
        target_id=certificate.pk,
        target_name=certificate.subject,
        changes=differences(before, after),
    )


def _checked(field_name: str, clean: Callable[[], T]) -> T:
    """What `clean` returns; its ValidationError keyed by the field."""
    try:
        return clean()
    except ValidationError as error:
        raise ValidationError({field_name: error.error_list}) from error
