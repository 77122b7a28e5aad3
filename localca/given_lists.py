"""Revocation lists that somebody else signed: of a CA whose key is not here, or from before it came here.

Laws of this module: nothing is stored before it was checked that the CA signed the list, that it is complete and
current, and that it names what is revoked here; refusals are at the field `crl`. What a given list names stays on every
list that is signed here later (`localca.revocation`), so that nothing which was taken back is good again.
"""

import datetime
import logging
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.services import record
from localca.models import AUTHORITY_TYPE, CertificateAuthority, RevocationList, RevocationReason, Status
from localca.revocation import audit_authority, latest_list, lock_authority, publish_list, reason_of
from localca.selectors import active_authority, family_of

logger = logging.getLogger(__name__)

# Some 13 000 entries. Every trust bundle has them, and every server reads them at each reload.
MAX_LIST_BYTES = 512 * 1024
MAX_LIST_PEM_BYTES = 2 * MAX_LIST_BYTES

# What the database's column takes.
_MAX_NUMBER = 2**63 - 1

_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@transaction.atomic
def give_list(*, authority: CertificateAuthority, crl: str | bytes, user: Actor | None) -> CertificateAuthority:
    """Store the CA's list from elsewhere: PEM, or PEM or DER as bytes.

    An intermediate that it names is revoked here too. Of a CA whose key is here, the next list is signed at once, with
    what the given one names. Raises ValidationError (`crl`), and as `localca.revocation.publish_list` does.
    """
    try:
        found = read_list(crl)
        stored = lock_authority(authority.pk)
        latest = latest_list(stored)
        der = found.public_bytes(serialization.Encoding.DER)
        if latest is not None and bytes(latest.der) == der:
            return stored
        end = _check(found, stored, latest)
        revoked = list(_newly_revoked(found, stored))
    except ValidationError as error:
        raise ValidationError({"crl": error.error_list}) from error
    given = RevocationList.objects.create(
        authority=stored,
        number=_number_of(found, latest),
        this_update=found.last_update_utc,
        next_update=end,
        der=der,
        is_given=True,
    )
    stored.revocation_lists.filter(number__lt=given.number).delete()
    _audit(given, user=user)
    for child, reason in revoked:
        _revoke(child, reason, user=user)
    _publish_after(stored)
    return stored


def read_list(content: str | bytes) -> x509.CertificateRevocationList:
    """The one list of a text (PEM) or a file (PEM or DER). Raises ValidationError."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if len(data) > MAX_LIST_PEM_BYTES:
        raise _too_large()
    if b"PRIVATE KEY-----" in data:
        raise ValidationError("This holds a private key: only a revocation list belongs here.", code="pem_swapped")
    if data.count(b"-----BEGIN ") > 1:
        raise ValidationError("This is more than one PEM block: give the list of this CA alone.", code="bad_pem")
    try:
        is_pem = b"-----BEGIN " in data
        found = x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
        # Loading parses the outside only; what is needed later must be readable now.
        _ = (found.issuer, found.last_update_utc, list(found.extensions), [reason_of(entry) for entry in found])
    except _MALFORMED as error:
        text = "This is no revocation list, or it is damaged or incomplete."
        raise ValidationError(text, code="bad_pem") from error
    if len(found.public_bytes(serialization.Encoding.DER)) > MAX_LIST_BYTES:
        raise _too_large()
    return found


def _check(
    found: x509.CertificateRevocationList, authority: CertificateAuthority, latest: RevocationList | None
) -> datetime.datetime:
    """When it ends. Raises ValidationError for a list that does not do."""
    now = timezone.now()
    begin, end = found.last_update_utc, found.next_update_utc
    code, text = "", ""
    if found.issuer != authority.certificate.subject:
        code, text = "other_issuer", f"This is the list of {found.issuer.rfc4514_string()}, and not of this CA."
    elif not _is_signed_by(found, authority):
        code, text = "not_signed", f"The key of {authority} did not sign this list."
    elif not _is_whole(found):
        text = "This list is about a part of what the CA has issued, or about changes only: the complete one is needed."
        code = "partial"
    elif begin > now:
        code, text = "not_yet", f"This list begins {begin:%Y-%m-%d %H:%M} UTC; this machine's clock says {now:%H:%M}."
    elif end is None or end <= now:
        ended = "does not say when it ends" if end is None else f"ended {end:%Y-%m-%d %H:%M} UTC"
        code, text = "overdue", f"This list {ended}: peers refuse everybody with it. Get the current one."
    elif not authority.has_key and latest is not None and begin < latest.this_update:
        code, text = "older", f"A later list is here already, of {latest.this_update:%Y-%m-%d %H:%M} UTC."
    elif not authority.has_key and (missing := _revoked_and_missing(found, authority)):
        code, text = "not_named", f"{missing[0]} is revoked here, and this list does not name it."
    if code or end is None:
        raise ValidationError(text, code=code)
    return end


def _is_signed_by(found: x509.CertificateRevocationList, authority: CertificateAuthority) -> bool:
    try:
        return found.is_signature_valid(authority.certificate.public_key())  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 (of a signature that is not one, cryptography raises half a dozen types)
        return False


def _is_whole(found: x509.CertificateRevocationList) -> bool:
    """RFC 5280 section 5.2: no delta, not about some certificates or reasons only, and nothing critical is unknown."""
    for extension in found.extensions:
        match extension.value:
            case x509.DeltaCRLIndicator():
                return False
            case x509.IssuingDistributionPoint() as scope:
                is_for_users = scope.only_contains_user_certs or scope.only_contains_attribute_certs
                if is_for_users or scope.only_some_reasons or scope.indirect_crl:
                    return False
            case _ if extension.critical:
                return False
    return True


def _revoked_and_missing(found: x509.CertificateRevocationList, authority: CertificateAuthority) -> list[str]:
    """What this CA has issued, was revoked here, has not ended, and is not on the list."""
    now = timezone.now()
    leafs = authority.issued_certificates.with_status(Status.REVOKED, now=now).filter(not_after__gt=now)
    revoked = [(int(serial, 16), subject) for serial, subject in leafs.values_list("serial_number", "subject")]
    for child in authority.children.filter(revoked_at__isnull=False):
        if child.facts.not_after > now:
            revoked.append((child.certificate.serial_number, str(child)))
    return [name for number, name in revoked if found.get_revoked_certificate_by_serial_number(number) is None]


def _newly_revoked(
    found: x509.CertificateRevocationList, authority: CertificateAuthority
) -> Iterator[tuple[CertificateAuthority, RevocationReason]]:
    """The intermediates that the list names and that are not revoked here. Raises ValidationError when one issues."""
    for child in authority.children.filter(revoked_at=None):
        entry = found.get_revoked_certificate_by_serial_number(child.certificate.serial_number)
        if entry is None:
            continue
        if any(member.is_active for member in family_of(child)):
            text = f"This list revokes {child}, which issues here or has an intermediate that does. "
            text += "Upstreams that have the list refuse everything from it: put another CA in charge first."
            raise ValidationError(text, code="is_active")
        reason = reason_of(entry).value
        yield child, RevocationReason(reason) if reason in RevocationReason else RevocationReason.UNSPECIFIED


def _number_of(found: x509.CertificateRevocationList, latest: RevocationList | None) -> int:
    """Its own, so that lists that are signed here go on from there; the next one when that is taken or too large."""
    try:
        own = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        own = 0
    following = latest.number + 1 if latest else 1
    return max(own, following) if own < _MAX_NUMBER else following


def _revoke(child: CertificateAuthority, reason: RevocationReason, *, user: Actor | None) -> None:
    before = child.summary()
    child.revoked_at, child.revocation_reason = timezone.now().replace(microsecond=0), reason
    child.save(update_fields=["revoked_at", "revocation_reason"])
    audit_authority(child, action="revoked", before=before, user=user)
    logger.warning("the given list of its issuer revokes the intermediate CA %s: %s", child, reason)


def _publish_after(authority: CertificateAuthority) -> None:
    """A new list of this CA, or of the one that issues: who asks for the file of all by its date must see a change."""
    if authority.has_key:
        publish_list(authority)
    elif (active := active_authority()) is not None:
        publish_list(lock_authority(active.pk))


def _audit(given: RevocationList, *, user: Actor | None) -> None:
    facts = {
        "number": given.number,
        "next_update": given.next_update.isoformat(),
        "entries": len(given.revocation_list),
    }
    record(
        user=user,
        action="list given",
        target_type=AUTHORITY_TYPE,
        target_id=given.authority_id,
        target_name=str(given.authority),
        changes=differences({"revocation_list": {}}, {"revocation_list": facts}),
    )
    logger.info("a revocation list of the CA %s was given, with %d entries", given.authority, facts["entries"])


def _too_large() -> ValidationError:
    return ValidationError(f"The revocation list is larger than {MAX_LIST_BYTES // 1024} KiB.", code="max_length")
