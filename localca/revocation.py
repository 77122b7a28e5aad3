"""Taking certificates back, and the list that says so.

Laws of this module:
- A certificate is revoked and the list that names it is signed in one transaction: either both or neither.
- One writer at a time for each CA: whoever makes a list holds the CA's row. The database admits each number once.
- What a given list names (`localca.given_lists`) stays named.
- An entry leaves the list only after a list that still had it was made past the certificate's end (RFC 5280 section
  3.3), so that nobody who reads every list can miss a revocation.
"""

import datetime
import logging
import uuid
from collections.abc import Collection, Iterator

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.errors import AegisError
from localca.models import (
    AUTHORITY_TYPE,
    CERTIFICATE_TYPE,
    CertificateAuthority,
    IssuedCertificate,
    KeyMissing,
    RevocationList,
    RevocationReason,
    Status,
)
from localca.profiles import BACKDATE, ProfileError
from localca.revocation_lists import Revocation, build_revocation_list
from localca.selectors import family_of

logger = logging.getLogger(__name__)

# Upstreams that fetch once a day have six chances before their list is overdue and they refuse everybody.
LIST_VALIDITY = datetime.timedelta(days=7)

# How old a list gets before the sweep makes a new one.
REFRESH_AFTER = datetime.timedelta(days=1)


class RevocationError(AegisError):
    """A certificate cannot be revoked, or its CA cannot sign a list."""


def current_list(authority: CertificateAuthority) -> RevocationList:
    """The CA's revocation list; made now when there is none or it is overdue, which the sweep normally prevents.

    One query while the list is good. Raises RevocationError, KeyMissing (`list_missing`) when nobody here can make it,
    and SecretUnreadable when the CA's key does not open.
    """
    latest = latest_list(authority)
    if latest and not _is_due(latest, now=timezone.now()):
        return latest
    if not authority.has_key:
        what = f"ended {latest.next_update:%Y-%m-%d %H:%M} UTC" if latest else "is not here"
        text = f"The revocation list of {authority} {what}, and its key is not here to sign one: whoever has it does"
        raise KeyMissing("list_missing", text)
    return _renewed(authority, max_age=None)


def latest_list(authority: CertificateAuthority) -> RevocationList | None:
    """The list as it is stored, overdue or not. One query."""
    return authority.revocation_lists.order_by("-number").first()


def current_lists() -> tuple[RevocationList, ...]:
    """The lists of every trusted CA, roots and intermediates, that of the CA that issues first.

    A peer that checks whole chains (nginx does) needs them all; `without_list` are those that are not in it. Raises as
    `current_list`.
    """
    return tuple(current_list(one) for one in CertificateAuthority.objects.trusted().with_path() if _has_list(one))


def without_list() -> tuple[CertificateAuthority, ...]:
    """The trusted CAs whose key is not here, and of which no current list was given.

    One whose key was removed has left a list that lasts.
    """
    return tuple(one for one in CertificateAuthority.objects.trusted().with_path() if not _has_list(one))


def refresh_lists() -> int:
    """Makes a new list for each CA whose list is a day old, and says how many.

    A CA that has expired or was revoked needs none; one whose key was removed has left a list that lasts.

    One CA that cannot sign does not stop the others; the first of such errors is raised at the end.
    """
    now = timezone.now()
    failures: list[AegisError] = []
    made = 0
    signing = CertificateAuthority.objects.filter(private_key__isnull=False, revoked_at=None)
    stale = signing.alias(latest=Max("revocation_lists__this_update")).filter(
        Q(latest__isnull=True) | Q(latest__lte=now - REFRESH_AFTER)
    )
    for authority in stale:
        if authority.facts.not_after <= now:
            continue
        try:
            _renewed(authority, max_age=REFRESH_AFTER)
            made += 1
        except AegisError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return made


@transaction.atomic
def revoke_certificate(
    *, certificate: IssuedCertificate, reason: RevocationReason, user: Actor | None
) -> IssuedCertificate:
    """Take a certificate back for good; the CA's next list names it.

    Raises RevocationError (`already_revoked`, `certificate_expired`, `signing_failed`), and SecretUnreadable when the
    CA's key does not open: then nothing is revoked.
    """
    authority = lock_authority(certificate.authority_id)
    stored = IssuedCertificate.objects.for_display().get(pk=certificate.pk)
    if stored.status == Status.REVOKED:
        raise RevocationError("already_revoked", "This certificate is revoked already.")
    if stored.status == Status.EXPIRED:
        raise RevocationError("certificate_expired", "This certificate has expired: nobody accepts it any more.")
    before = stored.summary()
    stored.revoked_at, stored.revocation_reason = timezone.now().replace(microsecond=0), reason
    stored.save(update_fields=["revoked_at", "revocation_reason"])
    publish_list(authority)
    record(
        user=user,
        action="revoked",
        target_type=CERTIFICATE_TYPE,
        target_id=stored.pk,
        target_name=stored.subject,
        changes=differences(before, stored.summary()),
    )
    logger.info("revoked the certificate %s, serial number %s: %s", stored.subject, stored.serial_number, reason)
    return stored


@transaction.atomic
def revoke_intermediate(
    *, authority: CertificateAuthority, reason: RevocationReason, user: Actor | None
) -> CertificateAuthority:
    """Take an intermediate back for good, and with it everything that it issued; its issuer's next list names it.

    Raises RevocationError (`is_root`, `is_active`, `already_revoked`, `certificate_expired`, `signing_failed`),
    KeyMissing when the issuer's key is not here, and SecretUnreadable when it does not open: then nothing is revoked.
    """
    if authority.parent_id is None:
        raise RevocationError("is_root", "A root is not revoked: peers stop trusting it when it is retired.")
    issuer = lock_authority(authority.parent_id)
    stored = lock_authority(authority.pk)
    if stored.revoked_at is not None:
        raise RevocationError("already_revoked", "This intermediate is revoked already.")
    if any(member.is_active for member in family_of(stored)):
        text = "This intermediate, or an intermediate beneath it issues: put another CA in charge first."
        raise RevocationError("is_active", text)
    if stored.facts.not_after <= timezone.now():
        raise RevocationError("certificate_expired", "This intermediate has expired: nobody accepts it any more.")
    before = stored.summary()
    stored.revoked_at, stored.revocation_reason = timezone.now().replace(microsecond=0), reason
    stored.save(update_fields=["revoked_at", "revocation_reason"])
    publish_list(issuer)
    audit_authority(stored, action="revoked", before=before, user=user)
    logger.info("revoked the intermediate CA %s: %s", stored, reason)
    return stored


def audit_authority(
    authority: CertificateAuthority, *, action: str, before: dict[str, object], user: Actor | None
) -> None:
    """One entry about a CA, in the transaction of its change."""
    record(
        user=user,
        action=action,
        target_type=AUTHORITY_TYPE,
        target_id=authority.pk,
        target_name=str(authority),
        changes=differences(before, authority.summary()),
    )


def publish_list(authority: CertificateAuthority, *, until: datetime.datetime | None = None) -> RevocationList:
    """Signs the next list of a CA whose row this transaction has locked; it lasts a week, or `until` a later moment.

    Raises RevocationError, KeyMissing, SecretUnreadable.
    """
    now = timezone.now().replace(microsecond=0)  # as the list will say it
    next_update = max(until or now, now + LIST_VALIDITY)
    latest = latest_list(authority)
    number = latest.number + 1 if latest else 1
    try:
        signed = build_revocation_list(
            issuer=authority.issuer(),
            number=number,
            revocations=_revocations(authority, latest),
            this_update=_this_update(latest, now=now),
            next_update=next_update,
        )
    except ProfileError as error:
        raise RevocationError("signing_failed", f"The local CA cannot sign a revocation list: {error}.") from error
    published = RevocationList.objects.create(
        authority=authority,
        number=number,
        this_update=signed.last_update_utc,
        next_update=next_update,
        der=signed.public_bytes(serialization.Encoding.DER),
    )
    authority.revocation_lists.filter(number__lt=number, is_given=False).delete()
    logger.info("signed revocation list %d of %s with %d entries", number, authority, len(signed))
    return published


def lock_authority(authority_id: uuid.UUID) -> CertificateAuthority:
    """The CA, held until the transaction ends. Of SQLite's transactions (IMMEDIATE) there is only one anyway."""
    return CertificateAuthority.objects.select_for_update().get(pk=authority_id)


def is_named(certificate: IssuedCertificate) -> bool:
    """Whether a revoked certificate must stay on record, because the next list still has to name it."""
    latest = latest_list(certificate.authority)
    return latest is None or certificate.not_after >= latest.this_update


@transaction.atomic
def _renewed(authority: CertificateAuthority, *, max_age: datetime.timedelta | None) -> RevocationList:
    """A new list, or the one that somebody else made while this transaction waited."""
    locked = lock_authority(authority.pk)
    latest = latest_list(locked)
    now = timezone.now()
    is_old = latest is not None and max_age is not None and latest.this_update <= now - max_age
    if latest is None or is_old or _is_due(latest, now=now):
        return publish_list(locked)
    return latest


def reason_of(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    """Why, as an entry of a list says it. Raises ValueError and others when the entry is malformed."""
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified


def _has_list(authority: CertificateAuthority) -> bool:
    """Whether there is a current one, or can be."""
    latest = None if authority.has_key else latest_list(authority)
    return authority.has_key or (latest is not None and not _is_due(latest, now=timezone.now()))


def _is_due(revocation_list: RevocationList, *, now: datetime.datetime) -> bool:
    return revocation_list.next_update <= now


def _this_update(latest: RevocationList | None, *, now: datetime.datetime) -> datetime.datetime:
    """Backdated for peers whose clocks run late, and a second after the list before: it is also the Last-Modified of
    downloads, and a client that asks with it must not miss a list."""
    earliest = now - BACKDATE
    return min(max(earliest, latest.this_update + datetime.timedelta(seconds=1)), now) if latest else earliest


def _revocations(authority: CertificateAuthority, latest: RevocationList | None) -> list[Revocation]:
    leafs = authority.issued_certificates.filter(revoked_at__isnull=False)
    if latest:
        leafs = leafs.filter(not_after__gte=latest.this_update)
    rows = leafs.order_by("revoked_at", "pk").values_list("serial_number", "revoked_at", "revocation_reason")
    revocations = [
        Revocation(serial_number=int(serial, 16), revoked_at=at, reason=x509.ReasonFlags(reason))
        for serial, at, reason in rows
        if at is not None
    ]
    for child in authority.children.filter(revoked_at__isnull=False):
        if child.revoked_at and (latest is None or child.facts.not_after >= latest.this_update):
            reason = x509.ReasonFlags(child.revocation_reason)
            serial_number = child.certificate.serial_number
            revocations.append(Revocation(serial_number=serial_number, revoked_at=child.revoked_at, reason=reason))
    return [*revocations, *_given(authority, known={revocation.serial_number for revocation in revocations})]


def _given(authority: CertificateAuthority, *, known: Collection[int]) -> Iterator[Revocation]:
    """What the CA had revoked before its key came here. When that ends is not known here, so it stays for good."""
    given = authority.revocation_lists.filter(is_given=True).order_by("-number").first()
    for entry in given.revocation_list if given else ():
        if entry.serial_number not in known:
            at, reason = entry.revocation_date_utc, reason_of(entry)
            yield Revocation(serial_number=entry.serial_number, revoked_at=at, reason=reason)
