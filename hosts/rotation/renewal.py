"""Renews the client certificates that the local CA issued, before they end.

Laws of this module:
- A sweep over what is stored: it may run at any time, also twice and at once. Renewal and rotation are one transaction
  that holds the host, so there is a successor with its key in a rotation, or nothing.
- One host's failure costs no other its renewal. It is logged, and told, again after a day; so is what stands in the
  way: a rotation that waits, or a successor that a person asked for. That person has its key, so it is left to them.
- The key of a successor is in its rotation and nowhere else. When that ended without the successor in use, the key is
  lost and the successor revoked; the next one is a new certificate that says the same, or the successor's successor
  where its CA could not revoke it.
- A rotation that waits is never replaced by a renewal: somebody wanted it, and its certificate may be the better one.
  But one whose candidate nobody could accept any more ends.
- Hosts that share a certificate get a successor of their own each: keys are not copied.
"""

import datetime
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import transaction
from django.db.models import Max

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, host_group, tell
from hosts.models import Host
from hosts.rotation.models import OVER, Rotation, RotationSource, RotationState
from hosts.rotation.new_keys import key_like
from hosts.rotation.selectors import last_renewable, open_rotation, why_unusable
from hosts.rotation.services import renewed, stage
from hosts.rotation.transitions import enter, locked, page_of, refusal_subject, text_of
from localca.models import IssuedCertificate, Status
from upstream_tls.stored import stored_facts

logger = logging.getLogger(__name__)

# Of its life, as certbot and cert-manager do it.
RENEW_AT = 2 / 3
# Earlier by up to that much, so that certificates that were issued together are not renewed together.
JITTER = 0.05
# After a renewal that did not get into use: of the life, eight tries until its end.
RETRY_AFTER = 1 / 24
HOSTS_PER_READ = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A host whose certificate in use is due. `waits_for` is the open rotation that has to be dealt with before."""

    host_id: uuid.UUID
    certificate: IssuedCertificate
    waits_for: Rotation | None


def renew_due(*, now: datetime.datetime) -> int:
    """Begins a rotation for each enabled host whose certificate is due at `now`. How many were begun."""
    begun = 0
    for due in list(_due(now)):
        try:
            begun += _renew_or_tell(due, now)
        except ObjectDoesNotExist:
            logger.info("host %s or its certificate was deleted before it was renewed", due.host_id)
        except Exception:
            # Whatever is wrong with one host must not cost the others their renewal.
            logger.exception("the certificate of host %s was not renewed; the next sweep tries again", due.host_id)
    return begun


def is_due(certificate: IssuedCertificate, *, now: datetime.datetime) -> bool:
    """Whether it is past two thirds of its life, less a jitter that its serial number decides. Pure."""
    return now >= due_at(certificate)


def due_at(certificate: IssuedCertificate) -> datetime.datetime:
    """From when on `is_due`. Pure."""
    life = certificate.not_after - certificate.not_before
    share = (int(certificate.serial_number, 16) % 10_000) / 10_000
    return certificate.not_before + life * (RENEW_AT - JITTER * share)


def held_up(host_id: uuid.UUID, *, now: datetime.datetime) -> Due | None:
    """The renewal of a host that waits for a rotation of it; None when none does. Four queries at most."""
    return next((due for due in _due(now, host_id) if due.waits_for is not None), None)


def _due(now: datetime.datetime, host_id: uuid.UUID | None = None) -> Iterator[Due]:
    """Hosts, all or this one, whose certificate in use is due and not being renewed. Four queries for 200 hosts."""
    rows = Host.objects.filter(enabled=True, upstream_tls__enabled=True).exclude(upstream_tls__client_certificate="")
    if host_id is not None:
        rows = rows.filter(pk=host_id)
    found = list(rows.order_by("pk").values_list("pk", "upstream_tls__client_certificate"))
    for start in range(0, len(found), HOSTS_PER_READ):
        part = {pk: stored_facts(text)[0].fingerprint_sha256 for pk, text in found[start : start + HOSTS_PER_READ]}
        issued = IssuedCertificate.objects.for_display().filter(fingerprint_sha256__in=set(part.values()))
        by_fingerprint = {row.fingerprint_sha256: row for row in issued if row.status != Status.REVOKED}
        open_ones = Rotation.objects.without_keys().open().filter(host_id__in=list(part))
        rotating = {rotation.host_id: rotation for rotation in open_ones}
        failed = _failed(list(part))
        for pk, fingerprint in part.items():
            certificate, rotation = by_fingerprint.get(fingerprint), rotating.get(pk)
            if certificate is None or not is_due(certificate, now=now):
                continue
            if rotation is not None:
                if rotation.is_stuck:
                    yield Due(host_id=pk, certificate=certificate, waits_for=rotation)
            elif not _has_just_failed(certificate, failed.get(pk), now=now):
                yield Due(host_id=pk, certificate=certificate, waits_for=None)


def _failed(host_ids: list[uuid.UUID]) -> dict[uuid.UUID, datetime.datetime]:
    """When a renewal of these hosts ended last without having got into use."""
    ended = Rotation.objects.filter(host_id__in=host_ids, source=RotationSource.RENEWED, state__in=OVER)
    failed = ended.exclude(state=RotationState.DONE).values_list("host_id").annotate(last=Max("ended_at")).order_by()
    return {host_id: last for host_id, last in failed if last is not None}


def _has_just_failed(
    certificate: IssuedCertificate, failed_at: datetime.datetime | None, *, now: datetime.datetime
) -> bool:
    life = certificate.not_after - certificate.not_before
    return failed_at is not None and failed_at <= now < failed_at + life * RETRY_AFTER


def _renew_or_tell(due: Due, now: datetime.datetime) -> bool:
    """Whether this run was the one that began the renewal."""
    if due.waits_for is not None:
        _tell_of_wait(due, due.waits_for, now)
        return False
    try:
        return _renew(due.host_id, due.certificate, now)
    except (AegisError, ValidationError) as error:
        logger.error("the client certificate of host %s was not renewed: %s", due.host_id, text_of(error))
        _tell(due.host_id, text_of(error), now)
        return False


def _renew(host_id: uuid.UUID, certificate: IssuedCertificate, now: datetime.datetime) -> bool:
    # Another host that shares it may have got a successor since it was read.
    renewable = last_renewable(IssuedCertificate.objects.for_display().get(pk=certificate.pk))
    if renewable is None:
        text = (
            f"It is due, and ends on {certificate.not_after:%Y-%m-%d}. Somebody renewed it by hand, and the host does "
            "not present the successor: install that, or rotate the host to a new certificate of the local CA."
        )
        _tell(host_id, text, now)
        return False
    # RSA takes seconds: not in a transaction.
    new_key = key_like(renewable)
    with transaction.atomic():
        host = Host.objects.select_for_update().filter(pk=host_id).first()
        if host is None or open_rotation(host_id) is not None:
            return False
        # Whatever was read before the lock is asked again.
        if [again.certificate.pk for again in _due(now, host_id)] != [certificate.pk]:
            return False
        current = last_renewable(IssuedCertificate.objects.for_display().get(pk=certificate.pk))
        if current is None or current != renewable:
            return False
        stage(host=host, pair=renewed(current, new_key, user=None), source=RotationSource.RENEWED, user=None)
    return True


@transaction.atomic
def _tell_of_wait(due: Due, waiting: Rotation, now: datetime.datetime) -> None:
    """Ends what can never get into use; what can is left to a person, who is told, again after a day."""
    rotation = locked(waiting)
    if rotation is None:  # it went on
        return
    if unusable := why_unusable(rotation.candidate_certificate, now=now):
        enter(rotation, RotationState.FAILED, user=None, code=unusable[0], message=unusable[1])
        return
    is_ready = rotation.state == RotationState.READY
    what_to_do = (
        "Confirm or cancel it." if is_ready else "Put the upstream right, promote it for a reason, or cancel it."
    )
    state = RotationState(rotation.state).label.lower()
    text = (
        f"It has been due since {due_at(due.certificate):%Y-%m-%d}, and ends on {due.certificate.not_after:%Y-%m-%d}. "
        f"The rotation of {rotation.created_at:%Y-%m-%d %H:%M} UTC is {state}. {what_to_do}"
    )
    logger.error("the renewal of host %s waits for rotation %s (%s)", due.host_id, rotation.pk, rotation.state)
    tell(
        Event(
            kind=EventKind.ROTATION_FAILED,
            # A refusal that was told within a day is not told again as this.
            subject=f"renewal:{due.host_id}" if is_ready else refusal_subject(rotation),
            group=host_group(due.host_id),
            title=f"The client certificate of {rotation.host.name} is not renewed: a rotation is in the way",
            text=text,
            at=now,
            path=page_of(rotation),
            details={"Rotation": str(rotation.pk)},
        )
    )


@transaction.atomic
def _tell(host_id: uuid.UUID, text: str, now: datetime.datetime) -> None:
    host = Host.objects.filter(pk=host_id).first()
    if host is None:
        return
    tell(
        Event(
            kind=EventKind.ROTATION_FAILED,
            subject=f"renewal:{host_id}",
            group=host_group(host_id),
            title=f"The client certificate of {host.name} could not be renewed",
            text=text,
            at=now,
            path=admin_page(host),
        )
    )
