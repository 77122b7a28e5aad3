"""Renews the client certificates that the local CA issued, before they end.

Laws of this module:
- A sweep over what is stored: it may run at any time, also twice and at once. Renewal and rotation are one transaction
  that holds the host, so there is a successor with its key in a rotation, or nothing.
- One host's failure costs no other its renewal. It is logged, and told, again after a day.
- The key of a successor is in its rotation and nowhere else. When that ended without the successor in use, the key is
  lost, and the next one is the successor's successor, whose key is new, or a new certificate when the lost one was
  revoked. A successor that a person asked for has its key
  with that person and is left to them.
- Hosts that share a certificate get a successor of their own each: keys are not copied.
"""

import datetime
import logging
import uuid
from collections.abc import Iterator

from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.db.models import Max

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.notifications.events import Event, EventKind, admin_page, host_group, tell
from hosts.models import Host
from hosts.rotation.models import OVER, Rotation, RotationSource, RotationState
from hosts.rotation.new_keys import key_like
from hosts.rotation.selectors import last_renewable, open_rotation
from hosts.rotation.services import renewed, stage
from hosts.rotation.transitions import text_of
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


def renew_due(*, now: datetime.datetime) -> int:
    """Begins a rotation for each enabled host whose certificate is due at `now`. How many were begun."""
    begun = 0
    for host_id, certificate in list(_due(now)):
        try:
            begun += _renew(host_id, certificate, now)
        except (AegisError, ValidationError) as error:
            logger.error("the client certificate of host %s was not renewed: %s", host_id, text_of(error))
            _tell(host_id, text_of(error), now)
        except DatabaseError:
            logger.exception("the client certificate of host %s was not renewed; the next sweep tries again", host_id)
    return begun


def is_due(certificate: IssuedCertificate, *, now: datetime.datetime) -> bool:
    """Whether it is past two thirds of its life, less a jitter that its serial number decides. Pure."""
    life = certificate.not_after - certificate.not_before
    share = (int(certificate.serial_number, 16) % 10_000) / 10_000
    return now >= certificate.not_before + life * (RENEW_AT - JITTER * share)


def _due(now: datetime.datetime, host_id: uuid.UUID | None = None) -> Iterator[tuple[uuid.UUID, IssuedCertificate]]:
    """Hosts, all or this one, with the certificate in use that is due. Three queries for each 200 hosts."""
    rows = Host.objects.filter(enabled=True, upstream_tls__enabled=True).exclude(upstream_tls__client_certificate="")
    if host_id is not None:
        rows = rows.filter(pk=host_id)
    found = list(rows.order_by("pk").values_list("pk", "upstream_tls__client_certificate"))
    for start in range(0, len(found), HOSTS_PER_READ):
        part = {pk: stored_facts(text)[0].fingerprint_sha256 for pk, text in found[start : start + HOSTS_PER_READ]}
        issued = IssuedCertificate.objects.for_display().filter(fingerprint_sha256__in=set(part.values()))
        by_fingerprint = {row.fingerprint_sha256: row for row in issued if row.status != Status.REVOKED}
        rotating = set(Rotation.objects.open().filter(host_id__in=list(part)).values_list("host_id", flat=True))
        failed = _failed(list(part))
        for pk, fingerprint in part.items():
            certificate = by_fingerprint.get(fingerprint)
            if certificate is None or pk in rotating or not is_due(certificate, now=now):
                continue
            if not _has_just_failed(certificate, failed.get(pk), now=now):
                yield pk, certificate


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


def _renew(host_id: uuid.UUID, certificate: IssuedCertificate, now: datetime.datetime) -> bool:
    """Whether this run was the one that began it."""
    # Another host that shares it may have got a successor since it was read.
    renewable = last_renewable(IssuedCertificate.objects.for_display().get(pk=certificate.pk))
    if renewable is None:
        return False
    # RSA takes seconds: not in a transaction.
    new_key = key_like(renewable)
    with transaction.atomic():
        host = Host.objects.select_for_update().filter(pk=host_id).first()
        if host is None or open_rotation(host_id) is not None:
            return False
        # Whatever was read before the lock is asked again.
        if [again.pk for _, again in _due(now, host_id)] != [certificate.pk]:
            return False
        current = last_renewable(IssuedCertificate.objects.for_display().get(pk=certificate.pk))
        if current is None or current != renewable:
            return False
        stage(host=host, pair=renewed(current, new_key, user=None), source=RotationSource.RENEWED, user=None)
    return True


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
