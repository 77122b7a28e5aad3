"""From one state of a rotation to the next: the one place where rotations and the identity in use are changed.

Laws of this module:
- Every function runs in the caller's transaction, which holds the host (`locked`), so of two who want the next step one
  finds that it was done.
- Each step is in the rotation itself and in the audit log; what somebody should know is told.
- What is in use goes the way of every change: `apply_changes`, the audit log, `publish_on_commit`. What somebody else
  put in use meanwhile is never overwritten.
- A certificate of the local CA whose key goes with its rotation is revoked in the same transaction: nobody can use it
  any more, and nothing is to be renewed, counted or alerted because of it. The request of another CA's certificate is
  forgotten when that stays in use, and not before.
"""

import datetime
import logging

from django.core.exceptions import ValidationError
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.recording import changing
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.notifications.events import Event, EventKind, host_group, tell
from hosts.audit import CERTIFICATE_REQUESTS, HOSTS
from hosts.models import Host
from hosts.publish import publish_on_commit
from hosts.rotation.models import OPEN, OVER, Rotation, RotationState
from hosts.rotation.selectors import candidate_pair, lost_certificate, pair_in_use, previous_pair, why_unusable
from localca.models import RevocationReason
from localca.revocation import revoke_certificate
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import CertificateRequest, UpstreamTLSConfiguration
from upstream_tls.services import apply_changes

logger = logging.getLogger(__name__)

# What the audit log calls a rotation, and what it says of the host.
ROTATION_TYPE = "rotation"
PROMOTED = "certificate_rotated"
PUT_BACK = "certificate_rolled_back"

# What ends a rotation without its candidate in use; FAILED is among them because it mostly is not.
_WITHOUT_CANDIDATE = (RotationState.ROLLED_BACK, RotationState.CANCELLED, RotationState.FAILED)
# So many of the last steps may be the one that is taken again: each round of probes has two.
_STEPS_OF_ROUND = 2
# Years of a renewal that is refused for another reason each time. The first step stays.
MAX_STEPS = 200

WATCH = datetime.timedelta(seconds=60)
WATCH_EVERY = datetime.timedelta(seconds=2)

_TITLES = {
    RotationState.REFUSED: "The new client certificate of {host} is refused by an upstream",
    RotationState.DRAINING: "The client certificate of {host} was rotated",
    RotationState.ROLLED_BACK: "The client certificate of {host} was rolled back",
    RotationState.FAILED: "The rotation of the client certificate of {host} failed",
}


def locked(rotation: Rotation) -> Rotation | None:
    """The rotation as it is stored, its host held; None when somebody else took the next step since it was read."""
    # First the lock: PostgreSQL would show joined rows as they were before it was waited for.
    Host.objects.select_for_update().only("pk").filter(pk=rotation.host_id).first()
    rows = Rotation.objects.select_related("host").filter(pk=rotation.pk, state=rotation.state, due_at=rotation.due_at)
    return rows.first()


def enter(
    rotation: Rotation,
    state: RotationState,
    *,
    user: Actor | None,
    code: str = "",
    message: str = "",
    due_at: datetime.datetime | None = None,
) -> None:
    """Go to `state`, note the step and save. `due_at`: when the sweep goes on.

    A step that is taken again in the next round of probes is listed once, with how often; the audit log has it each
    time, and somebody is told the first time. What is taken again at once, as after a process died, is only counted.
    """
    now = timezone.now()
    if state in _WITHOUT_CANDIDATE:
        message = f"{message} {_revoke_lost(rotation, user=user)}".strip()
    message = message[:1000]
    rotation.state, rotation.code, rotation.message, rotation.due_at = state, code, message, due_at
    if state in OVER:
        rotation.ended_at = now
    if state not in OPEN:
        rotation.candidate_key = rotation.previous_key = None
    by = user.get_username() if user is not None else ""
    step = {"at": now.isoformat(), "state": str(state), "by": by, "code": code, "message": message, "times": 1}
    recent = rotation.steps[-_STEPS_OF_ROUND:]
    same = [one for one in recent if (one["state"], one["code"], one["by"]) == (state, code, by)]
    is_at_once = bool(same) and recent[-1] in same
    for one in same:
        step["times"] += one["times"]
        rotation.steps.remove(one)
    rotation.steps.append(step)
    del rotation.steps[1 : 1 - MAX_STEPS]
    rotation.save()
    if not is_at_once:
        _record(rotation, state, user=user)
        logger.info("rotation %s of host %s: %s %s", rotation.pk, rotation.host_id, state, code)
    if not same:
        _tell(rotation, state)


def promote(rotation: Rotation, *, user: Actor | None) -> None:
    """Put the candidate in use and watch it. What makes that impossible ends the rotation, with the reason."""
    now = timezone.now()
    configuration = _configuration(rotation)
    if pair_in_use(configuration) != previous_pair(rotation):
        message = "The host's client certificate was changed by somebody else since the candidate was staged."
        enter(rotation, RotationState.CANCELLED, user=user, code="changed_meanwhile", message=message)
        return
    if unusable := why_unusable(rotation.candidate_certificate, now=now):
        enter(rotation, RotationState.FAILED, user=user, code=unusable[0], message=unusable[1])
        return
    try:
        key = rotation.candidate_key.reveal().decode("ascii")
        changes = UpstreamTLSChanges(enabled=True, client_certificate=rotation.candidate_certificate, client_key=key)
        apply_changes(configuration, changes)
    except (AegisError, ValidationError) as error:
        enter(rotation, RotationState.FAILED, user=user, code="not_applicable", message=text_of(error))
        return
    rotation.promoted_at = now
    _put_in_use(rotation, configuration, user=user, action=PROMOTED)
    message = f"Watched for {WATCH.total_seconds():.0f} s."
    enter(rotation, RotationState.WATCHING, user=user, message=message, due_at=now + WATCH_EVERY)


def roll_back(rotation: Rotation, *, code: str, message: str) -> None:
    """Put back what was in use before, unless nobody could accept that any more; then say so and leave the new one."""
    configuration = _configuration(rotation)
    if pair_in_use(configuration) != candidate_pair(rotation):
        supersede(rotation)
        return
    unusable = why_unusable(rotation.previous_certificate, now=timezone.now()) if rotation.previous_enabled else None
    if unusable:
        text = f"{message} Not rolled back, the previous certificate is of no use: {unusable[1]}"
        _forget_request(rotation)
        enter(rotation, RotationState.FAILED, user=None, code="previous_unusable", message=text)
        return
    try:
        key = rotation.previous_key.reveal().decode("ascii") if rotation.previous_key is not None else ""
        changes = UpstreamTLSChanges(
            enabled=rotation.previous_enabled, client_certificate=rotation.previous_certificate, client_key=key
        )
        apply_changes(configuration, changes)
    except (AegisError, ValidationError) as error:
        text = f"{message} Not rolled back: {text_of(error)}"
        _forget_request(rotation)
        enter(rotation, RotationState.FAILED, user=None, code="not_applicable", message=text)
        return
    _put_in_use(rotation, configuration, user=None, action=PUT_BACK)
    enter(rotation, RotationState.ROLLED_BACK, user=None, code=code, message=message)


def supersede(rotation: Rotation) -> None:
    """Somebody else changed the identity while the new one was watched: theirs stays."""
    message = "The host's client certificate was changed by somebody else while it was watched; theirs stays."
    enter(rotation, RotationState.CANCELLED, user=None, code="superseded", message=message)


def drain(rotation: Rotation) -> None:
    """The watch is over, the new identity stays; connections of the old one end by the host's own deadline."""
    drain_s = rotation.host.traffic_configuration.tunnel_drain_s
    until = (rotation.promoted_at or timezone.now()) + datetime.timedelta(seconds=drain_s)
    message = f"Connections of the previous identity are closed by {until:%H:%M:%S} UTC."
    _forget_request(rotation)
    enter(rotation, RotationState.DRAINING, user=None, message=message, due_at=max(until, timezone.now()))


def text_of(error: AegisError | ValidationError) -> str:
    """What an operator is told of an error."""
    return error.message if isinstance(error, AegisError) else " ".join(error.messages)


def _configuration(rotation: Rotation) -> UpstreamTLSConfiguration:
    found = UpstreamTLSConfiguration.objects.select_for_update().filter(host_id=rotation.host_id).first()
    return found or UpstreamTLSConfiguration(host_id=rotation.host_id)


def _put_in_use(
    rotation: Rotation, configuration: UpstreamTLSConfiguration, *, user: Actor | None, action: str
) -> None:
    host = rotation.host
    with changing(HOSTS, [host.pk], user=user, action=action):
        configuration.save()
        # Only that: whatever else this copy says may be old.
        host.save(update_fields=["updated_at"])
    publish_on_commit([host.pk])


def _forget_request(rotation: Rotation) -> None:
    """The candidate stays in use, so that its key is needed nowhere else."""
    if rotation.certificate_request_id is None:
        return
    with changing(CERTIFICATE_REQUESTS, [rotation.certificate_request_id], user=None):
        CertificateRequest.objects.filter(pk=rotation.certificate_request_id).delete()
    rotation.certificate_request = None


def _revoke_lost(rotation: Rotation, *, user: Actor | None) -> str:
    """Revokes the candidate when its key is gone after this. Returns what an operator has to know, which is nothing
    unless its CA cannot sign: that must not keep anybody from cancelling."""
    if (lost := lost_certificate(rotation)) is None:
        return ""
    try:
        revoke_certificate(certificate=lost, reason=RevocationReason.CESSATION_OF_OPERATION, user=user)
    except AegisError as error:
        logger.warning("certificate %s of rotation %s was not revoked: %s", lost.pk, rotation.pk, error.message)
        return f"Its certificate could not be revoked, though its key is gone: {error.message}"
    return ""


def _record(rotation: Rotation, state: RotationState, *, user: Actor | None) -> None:
    """One entry in the audit log."""
    facts = {"certificate": rotation.candidate_fingerprint_sha256, "code": rotation.code, "message": rotation.message}
    if rotation.override_reason:
        facts["override_reason"] = rotation.override_reason
    record(
        user=user,
        action=f"rotation_{state}",
        target_type=ROTATION_TYPE,
        target_id=rotation.pk,
        target_name=rotation.host.name,
        changes=differences({}, {name: value for name, value in facts.items() if value}),
    )


def _tell(rotation: Rotation, state: RotationState) -> None:
    """A notification of what somebody should know."""
    if state in _TITLES:
        tell(
            Event(
                kind=EventKind.ROTATION if state == RotationState.DRAINING else EventKind.ROTATION_FAILED,
                subject=_subject(rotation, state),
                group=host_group(rotation.host_id),
                title=_TITLES[state].format(host=rotation.host.name),
                text=rotation.message,
                at=timezone.now(),
                path=page_of(rotation),
                details={"Code": rotation.code} if rotation.code else {},
            )
        )


def refusal_subject(rotation: Rotation) -> str:
    """Of what is told of its refusal: whoever tells it again uses this."""
    return _subject(rotation, RotationState.REFUSED)


def _subject(rotation: Rotation, state: RotationState) -> str:
    return f"rotation:{rotation.pk}:{state}"


def page_of(rotation: Rotation) -> str:
    """Its page in the admin. Written out: the Celery worker has no admin that could be asked."""
    return f"/admin/hosts/host/{rotation.host_id}/rotations/{rotation.pk}/"
