"""What people, the API and the renewal do with rotations.

Laws of this module:
- The host is locked first; everything is checked again under the lock. So of many who ask at once one makes a rotation,
  and a certificate if one is to be issued; the others are told which rotation it is.
- A rotation that was staged goes on by itself (`hosts.rotation.running`); the queue only saves the wait for the sweep.
"""

import datetime
import logging
import uuid
from collections.abc import Collection
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from hosts.downstream_tls import common_name_of
from hosts.field_errors import FieldErrors
from hosts.models import Host
from hosts.rotation.models import (
    BEFORE_PROMOTION,
    MAX_REASON_CHARACTERS,
    OVER,
    IssuedCandidate,
    Rotation,
    RotationSource,
    RotationState,
)
from hosts.rotation.new_keys import NewKey, key_like
from hosts.rotation.selectors import (
    is_probe_outdated,
    last_renewable,
    not_admitting,
    open_rotation,
    pair_in_use,
    why_unusable,
)
from hosts.rotation.transitions import enter, promote
from localca import profiles
from localca.models import IssuedCertificate, Status
from localca.orders import Order, content_of_successor
from localca.services import issue_certificate, issue_client_certificate, renew_certificate
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import CertificateRequest, UpstreamTLSConfiguration
from upstream_tls.services import apply_changes

logger = logging.getLogger(__name__)

KEPT_ROTATIONS = 100
# What was probed so recently is promoted without being probed again.
PROBE_IS_FRESH_FOR = datetime.timedelta(seconds=60)


class RotationConflict(AegisError):
    """The host or the rotation is in a state that does not admit this."""


@transaction.atomic
def stage(
    *,
    host: Host,
    pair: UpstreamTLSChanges,
    source: RotationSource = RotationSource.UPLOADED,
    certificate_request: CertificateRequest | None = None,
    is_manual: bool = False,
    user: Actor | None,
) -> Rotation:
    """Keep a candidate beside the certificate in use, to be probed soon. Of `pair` only the client's fields count.

    `certificate_request` is what the candidate answers; it is forgotten when the candidate stays in use.

    Raises ValidationError keyed `upstream_tls.<field>`, RotationConflict (`rotation_open`), SecretUnreadable.
    """
    locked = _locked_host(host)
    _check_none_open(locked)
    stored = UpstreamTLSConfiguration.objects.filter(host=locked).first() or UpstreamTLSConfiguration(host=locked)
    previous, previous_key = pair_in_use(stored), stored.client_key
    candidate = _checked_candidate(stored, pair)
    now = timezone.now()
    rotation = Rotation(
        host=locked,
        source=source,
        is_manual=is_manual,
        candidate_certificate=candidate.client_certificate,
        candidate_key=Sealed.of(candidate.client_key.reveal()) if candidate.client_key else None,
        candidate_key_spki_sha256=candidate.client_key_spki_sha256,
        candidate_fingerprint_sha256=_fingerprint(candidate.client_certificate),
        previous_enabled=previous[0],
        previous_certificate=previous[1],
        previous_key=Sealed.of(previous_key.reveal()) if previous_key else None,
        previous_key_spki_sha256=previous[2],
        certificate_request=certificate_request,
        requested_by_id=user.pk if user is not None else None,
        created_at=now,
    )
    if source in (RotationSource.ISSUED, RotationSource.RENEWED):
        _remember_candidate(rotation)
    enter(rotation, RotationState.STAGED, user=user, due_at=now)
    _forget_all_but_newest(locked)
    transaction.on_commit(partial(go_on, rotation), robust=True)
    return rotation


def issue(*, host: Host, is_manual: bool = False, user: Actor | None) -> Rotation:
    """Have the local CA issue the candidate: the successor of what is in use when it may be renewed, else a new one.

    Raises RotationConflict, ValidationError, localca.services.IssuanceError, SecretUnreadable: then nothing was issued.
    """
    renewable = _renewable(host)
    # RSA takes seconds: not in a transaction.
    new_key = key_like(renewable) if renewable else None
    with transaction.atomic():
        locked = _locked_host(host)
        _check_none_open(locked)
        if renewable and new_key and _renewable(locked) == renewable:
            pair = renewed(renewable, new_key, user=user)
        else:
            common_name = common_name_of(locked, [domain.name for domain in locked.domains.all()[:1]])
            bundle = issue_client_certificate(common_name=common_name, issued_for=f"host {locked.name}", user=user)
            pair = UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode("ascii"))
        return stage(host=locked, pair=pair, source=RotationSource.ISSUED, is_manual=is_manual, user=user)


def renewed(certificate: IssuedCertificate, new_key: NewKey, *, user: Actor | None) -> UpstreamTLSChanges:
    """The successor with its key, which is nowhere else. As `renew_certificate`.

    What was revoked has no successor: then it is a new certificate that says the same.
    """
    if certificate.status == Status.REVOKED:
        bundle = issue_certificate(order=_order_like(certificate, csr_pem=new_key.csr_pem), user=user)
    else:
        bundle = renew_certificate(certificate=certificate, csr=new_key.csr_pem, user=user)
    return UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=new_key.key_pem)


@transaction.atomic
def confirm(*, rotation: Rotation, user: Actor | None) -> Rotation:
    """Promote what is ready, at once when its probe is fresh and the host was not changed since; else it is probed
    again and then promoted by itself.

    Raises RotationConflict (`not_ready`).
    """
    found = _in_state(rotation, RotationState.READY, code="not_ready", message="Only what is ready can be confirmed.")
    found.is_confirmed = True
    if _is_probe_fresh(found):
        promote(found, user=user)
    else:
        message = "Confirmed; the probe is old, so it is repeated first."
        enter(found, RotationState.STAGED, user=user, code="confirmed", message=message, due_at=timezone.now())
    transaction.on_commit(partial(go_on, found), robust=True)
    return found


@transaction.atomic
def promote_refused(*, rotation: Rotation, reason: str, user: Actor | None) -> Rotation:
    """Promote what an upstream refused, for a reason. Upstreams that refused it do not count in the watch.

    At once when its probe is fresh and the host was not changed since; else it is probed again, and promoted by itself
    unless an upstream refuses it that did not when the reason was given.

    Raises RotationConflict (`not_refused`), ValidationError (`override_reason`).
    """
    text = " ".join(reason.split())
    if not text or len(text) > MAX_REASON_CHARACTERS or not text.isprintable():
        message = f"Say why, in 1 to {MAX_REASON_CHARACTERS} printable characters: it stays in the audit log."
        raise ValidationError({"override_reason": ValidationError(message, code="reason_required")})
    message = "Only what an upstream refused needs a reason."
    found = _in_state(rotation, RotationState.REFUSED, code="not_refused", message=message)
    found.override_reason, found.is_confirmed = text, True
    found.override_admits = not_admitting(found)
    if _is_probe_fresh(found):
        promote(found, user=user)
    else:
        message = "To be promoted for a reason; the probe is old, so it is repeated first."
        enter(found, RotationState.STAGED, user=user, code="overridden", message=message, due_at=timezone.now())
    transaction.on_commit(partial(go_on, found), robust=True)
    return found


@transaction.atomic
def probe_again(*, rotation: Rotation, user: Actor | None) -> Rotation:
    """Probe what was refused, or what waits to be confirmed, once more. Raises RotationConflict (`not_waiting`)."""
    message = "It can be probed again while it waits for somebody."
    states = (RotationState.READY, RotationState.REFUSED)
    found = _in_state(rotation, *states, code="not_waiting", message=message)
    enter(found, RotationState.STAGED, user=user, code="probe_again", due_at=timezone.now())
    transaction.on_commit(partial(go_on, found), robust=True)
    return found


@transaction.atomic
def cancel(*, rotation: Rotation, user: Actor | None) -> Rotation:
    """Forget a candidate that is not in use yet, and its key. Raises RotationConflict (`in_use`)."""
    message = "It is in use or over: there is nothing to cancel. To go back, rotate to the other certificate."
    found = _in_state(rotation, *BEFORE_PROMOTION, code="in_use", message=message)
    enter(found, RotationState.CANCELLED, user=user, code="cancelled")
    return found


def cancel_of_hosts(host_ids: Collection[uuid.UUID], *, user: Actor | None) -> None:
    """To be called before hosts are deleted: what the local CA issued for them and is not in use has no key then."""
    waiting = Rotation.objects.filter(host__in=host_ids, state__in=BEFORE_PROMOTION).select_related("host")
    for rotation in waiting:
        message = "Its host was deleted."
        enter(rotation, RotationState.CANCELLED, user=user, code="host_deleted", message=message)


def go_on(rotation: Rotation) -> None:
    """Have the next step taken now. Without the queue, the sweep does it."""
    # Tasks call services, so a service imports its task where it needs it.
    from hosts.tasks import advance_rotation  # noqa: PLC0415

    try:
        advance_rotation.delay(str(rotation.pk))
    except OperationalError as error:
        # The error's text may hold the URL, and that a password.
        logger.error("a rotation was not queued: %s", type(error).__name__)


def _is_probe_fresh(rotation: Rotation) -> bool:
    now = timezone.now()
    is_recent = rotation.probed_at is not None and now - PROBE_IS_FRESH_FOR <= rotation.probed_at <= now
    return is_recent and not is_probe_outdated(rotation)


def _locked_host(host: Host) -> Host:
    """Raises Host.DoesNotExist."""
    return Host.objects.select_for_update().get(pk=host.pk)


def _check_none_open(host: Host) -> None:
    found = open_rotation(host.pk)
    if found is not None:
        message = f"The rotation {found.pk} of this host is not over: confirm or cancel that one first."
        raise RotationConflict("rotation_open", message)


def _forget_all_but_newest(host: Host) -> None:
    kept = host.rotations.order_by("-created_at").values_list("pk", flat=True)[:KEPT_ROTATIONS]
    host.rotations.filter(state__in=OVER).exclude(pk__in=list(kept)).delete()


def _remember_candidate(rotation: Rotation) -> None:
    issued = IssuedCertificate.objects.filter(fingerprint_sha256=rotation.candidate_fingerprint_sha256)
    IssuedCandidate.objects.bulk_create([IssuedCandidate(certificate=found) for found in issued.only("pk")])


def _in_state(rotation: Rotation, *states: RotationState, code: str, message: str) -> Rotation:
    """The rotation as it is stored, its host held. Raises RotationConflict."""
    Host.objects.select_for_update().only("pk").filter(pk=rotation.host_id).first()
    found = Rotation.objects.select_related("host").filter(pk=rotation.pk).first()
    if found is None or found.state not in states:
        raise RotationConflict(code, message)
    return found


def _checked_candidate(stored: UpstreamTLSConfiguration, pair: UpstreamTLSChanges) -> UpstreamTLSConfiguration:
    """`stored` with the candidate. Raises ValidationError."""
    in_use = stored.client_certificate if stored.enabled else ""
    errors = FieldErrors()
    with errors.under("upstream_tls"):
        apply_changes(
            stored,
            UpstreamTLSChanges(
                enabled=True,
                client_certificate=pair.client_certificate,
                client_key=pair.client_key,
                client_pkcs12=pair.client_pkcs12,
                client_key_passphrase=pair.client_key_passphrase,
            ),
        )
        if stored.client_certificate == in_use:
            message = "This certificate is in use already: a rotation needs another one."
            raise ValidationError({"client_certificate": ValidationError(message, code="same_certificate")})
        if unusable := why_unusable(stored.client_certificate, now=timezone.now()):
            code, message = unusable
            raise ValidationError({"client_certificate": ValidationError(message, code=code)})
    errors.raise_if_any()
    return stored


def _renewable(host: Host) -> IssuedCertificate | None:
    """The host's certificate when the local CA issued it and it is not revoked, or its last successor (`renewed`)."""
    configuration = UpstreamTLSConfiguration.objects.filter(host_id=host.pk).first()
    if configuration is None or not configuration.client_certificate:
        return None
    fingerprint = _fingerprint(configuration.client_certificate)
    found = IssuedCertificate.objects.for_display().filter(fingerprint_sha256=fingerprint).first()
    return last_renewable(found) if found and found.status != Status.REVOKED else None


def _order_like(certificate: IssuedCertificate, *, csr_pem: str) -> Order:
    content = content_of_successor(certificate)
    # Left open, it may be less where the CA ends before.
    is_shorter = content.validity < profiles.LEAF_VALIDITY
    return Order(
        purpose=content.purpose,
        common_name=content.common_name,
        subject_alt_names=certificate.facts.subject_alt_names,
        validity_days=content.validity.days if is_shorter else None,
        issued_for=content.issued_for,
        csr=csr_pem,
    )


def _fingerprint(chain_pem: str) -> str:
    return x509.load_pem_x509_certificate(chain_pem.encode("ascii")).fingerprint(hashes.SHA256()).hex()
