"""The steps that a rotation takes by itself, in the Celery worker.

Laws of this module:
- A step is claimed by a compare-and-set of `due_at`, which is also its deadline: when the process that took it dies,
  the sweep takes it again then. What a step found counts only while its claim stands.
- Upstreams are probed outside of transactions; what follows is decided under the host's lock.
- An identity is rolled back when an upstream that admitted it refuses it, and lets the previous one in.
"""

import datetime
import logging
import uuid
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.errors import AegisError
from hosts.connection_test_run import PROBE_TIMEOUT_S
from hosts.models import Host, Scheme, Upstream
from hosts.rotation import probing
from hosts.rotation.judging import Document, Verdict, in_short, is_admitted, is_identity_refused, judge, reason
from hosts.rotation.models import BEFORE_PROMOTION, Rotation, RotationSource, RotationState
from hosts.rotation.selectors import candidate_pair, https_upstreams, is_probe_outdated, pair_in_use, refused_in_traffic
from hosts.rotation.transitions import WATCH, WATCH_EVERY, drain, enter, locked, promote, roll_back, supersede, text_of
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.selectors import known_certificates

logger = logging.getLogger(__name__)

# What a step takes besides its probes.
SLACK_S = 3.0
# Above all deadlines of steps: probing the largest host takes 26 s when nothing answers.
LONGEST_STEP = datetime.timedelta(seconds=60)
# Of a rolling back within ten seconds that is the larger part: a round every two seconds, seen by a sweep each second.
WATCH_TIMEOUT_S = 2.0
# A refused candidate that nobody has uploaded is tried again: after five minutes, then twice as long each time.
RETRY_FIRST = datetime.timedelta(minutes=5)
RETRY_LONGEST = datetime.timedelta(hours=6)
AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why an identity is to be rolled back."""

    code: str
    message: str


def due_rotations(*, now: datetime.datetime) -> list[uuid.UUID]:
    """Those whose next step is due. One query."""
    due = Rotation.objects.due(now, longest_step=LONGEST_STEP).order_by("due_at")
    return list(due.values_list("pk", flat=True)[:AT_ONCE])


def advance(rotation_id: uuid.UUID) -> None:
    """Take the next step of a rotation, if it is due and nobody else has taken it."""
    rotation = _claim(rotation_id)
    if rotation is None:
        return
    host = Host.objects.with_configuration().filter(pk=rotation.host_id).first()
    if host is None:
        logger.info("rotation %s: its host was deleted", rotation_id)
    elif rotation.state == RotationState.PROBING:
        _probe(rotation, host)
    elif rotation.state == RotationState.WATCHING:
        _watch(rotation, host)
    else:
        _end(rotation)


def _claim(rotation_id: uuid.UUID) -> Rotation | None:
    now = timezone.now()
    due = Rotation.objects.due(now, longest_step=LONGEST_STEP)
    found = due.filter(pk=rotation_id).values_list("state", "due_at").first()
    if found is None:
        return None
    state, due_at = found
    claimed = RotationState.PROBING if state in BEFORE_PROMOTION else state
    deadline = now + _time_for(rotation_id, claimed)
    row = Rotation.objects.filter(pk=rotation_id, state=state, due_at=due_at)
    if not row.update(state=claimed, due_at=deadline):
        logger.info("rotation %s: another run took the step", rotation_id)
        return None
    # None when it was cancelled, or went with its host, since.
    return Rotation.objects.filter(pk=rotation_id, state=claimed, due_at=deadline).first()


def _time_for(rotation_id: uuid.UUID, state: str) -> datetime.timedelta:
    """The deadline of a step: ten seconds for a few upstreams, more where not all can be probed at once. One query."""
    upstreams = Upstream.objects.filter(host__rotations=rotation_id, enabled=True, scheme=Scheme.HTTPS).count()
    seconds = 0.0
    if state == RotationState.PROBING:
        seconds = probing.longest_s(2 * upstreams, timeout_s=PROBE_TIMEOUT_S)
    elif state == RotationState.WATCHING:  # first the new identity, then the previous one
        seconds = 2 * probing.longest_s(upstreams, timeout_s=WATCH_TIMEOUT_S)
    return datetime.timedelta(seconds=seconds + SLACK_S)


# Before the promotion


def _probe(rotation: Rotation, host: Host) -> None:
    """Try the candidate on every upstream, beside what is in use."""
    upstreams = https_upstreams(host)
    try:
        now = probing.attempts_at(upstreams, host=host, configuration=host.upstream_configuration)
        then = probing.attempts_at(upstreams, host=host, configuration=_with_candidate(rotation))
    except AegisError as error:
        _fail(rotation, error)
        return
    documents = probing.run([*now, *then], timeout_s=PROBE_TIMEOUT_S, known=known_certificates())
    probes = [
        _probe_document(upstream, documents[number], documents[len(upstreams) + number])
        for number, upstream in enumerate(upstreams)
    ]
    with transaction.atomic():
        current = locked(rotation)
        if current is None:
            return
        current.probes, current.probed_at, current.probed_version = probes, timezone.now(), host.updated_at
        current.probe_count += 1
        if is_probe_outdated(current):  # it may have another upstream now
            message = "The host was changed while it was probed, so it is probed again."
            enter(current, RotationState.STAGED, user=None, code="host_changed", message=message, due_at=timezone.now())
        else:
            _after_probe(current)


def _after_probe(rotation: Rotation) -> None:
    bad = [probe for probe in rotation.probes if probe["verdict"] != Verdict.ADMITTED]
    if bad:
        first = bad[0]
        more = f" And {len(bad) - 1} more." if len(bad) > 1 else ""
        message = f"{first['target']}: {first['message']}{more}"
        due_at = timezone.now() + _retry_after(rotation) if rotation.source == RotationSource.RENEWED else None
        enter(rotation, RotationState.REFUSED, user=None, code=first["code"], message=message, due_at=due_at)
        return
    count = len(rotation.probes)
    message = f"Admitted by {count} upstream{'' if count == 1 else 's'}."
    if not count:
        message = "The host has no enabled https upstream: there was nothing to probe."
    waits = rotation.is_manual and not rotation.is_confirmed
    enter(rotation, RotationState.READY, user=None, code="" if count else "nothing_to_probe", message=message)
    if not waits:
        promote(rotation, user=None)


def _retry_after(rotation: Rotation) -> datetime.timedelta:
    return min(RETRY_FIRST * (1 << min(rotation.probe_count - 1, 10)), RETRY_LONGEST)


def _probe_document(upstream: Upstream, now: Document | None, then: Document | None) -> Document:
    verdict, code, message = judge(now, then)
    return {
        "upstream": str(upstream.pk),
        "target": str(upstream),
        "verdict": str(verdict),
        "code": code,
        "message": message,
        "now": in_short(now),
        "then": in_short(then),
    }


# After the promotion


def _watch(rotation: Rotation, host: Host) -> None:
    """One round: whether upstreams that admitted the candidate still do, by probes and by what traffic met."""
    if pair_in_use(host.upstream_configuration) != candidate_pair(rotation):
        with transaction.atomic():
            if (current := locked(rotation)) is not None:
                supersede(current)
        return
    try:
        refusal = _refusal(rotation, host)
    except AegisError as error:
        _fail(rotation, error)
        return
    with transaction.atomic():
        current = locked(rotation)
        if current is None:
            return
        now, begun = timezone.now(), current.promoted_at
        if pair_in_use(_stored(current)) != candidate_pair(current):
            supersede(current)
        elif refusal is not None:
            roll_back(current, code=refusal.code, message=refusal.message)
        # A clock that was set back does not make the watch longer than one that was not.
        elif begun is None or not begun <= now < begun + WATCH:
            drain(current)
        else:
            current.due_at = now + WATCH_EVERY
            current.save(update_fields=["due_at"])


def _refusal(rotation: Rotation, host: Host) -> _Refusal | None:
    """Of the upstreams that refuse what is in use, the first that lets the previous identity in."""
    admitted = {probe["upstream"]: probe for probe in rotation.probes if probe["verdict"] == Verdict.ADMITTED}
    upstreams = [upstream for upstream in https_upstreams(host) if str(upstream.pk) in admitted]
    attempts = probing.attempts_at(upstreams, host=host, configuration=host.upstream_configuration)
    found: list[tuple[Upstream, _Refusal]] = []
    in_traffic = refused_in_traffic(rotation)
    for upstream, document in zip(upstreams, probing.run(attempts, timeout_s=WATCH_TIMEOUT_S), strict=True):
        usual_status = admitted[str(upstream.pk)]["then"]["http_status"]
        if document is not None and is_identity_refused(document, usual_status=usual_status):
            code, message = reason(document)
            found.append((upstream, _Refusal(code=code, message=f"{upstream}: {message}")))
        elif (failure := in_traffic.get(upstream.pk)) is not None:
            text = f"{upstream}, met by traffic: {failure.reason or failure.code}"
            found.append((upstream, _Refusal(code=failure.code, message=text)))
    if not found:
        return None
    suspects = [upstream for upstream, _ in found]
    previous = probing.attempts_at(suspects, host=host, configuration=_with_previous(rotation))
    for (upstream, refusal), document in zip(found, probing.run(previous, timeout_s=WATCH_TIMEOUT_S), strict=True):
        usual_status = admitted[str(upstream.pk)]["now"]["http_status"]
        if document is not None and is_admitted(document, usual_status=usual_status):
            return refusal
    logger.warning("rotation %s: upstreams refuse the previous identity as well, so the new one stays", rotation.pk)
    return None


def _end(rotation: Rotation) -> None:
    with transaction.atomic():
        if (current := locked(rotation)) is not None:
            enter(current, RotationState.DONE, user=None, message="Connections of the previous identity are closed.")


def _fail(rotation: Rotation, error: AegisError) -> None:
    with transaction.atomic():
        if (current := locked(rotation)) is not None:
            enter(current, RotationState.FAILED, user=None, code=error.code, message=text_of(error))


# Configurations to try, saved nowhere


def _with_candidate(rotation: Rotation) -> UpstreamTLSConfiguration:
    configuration = _stored(rotation)
    configuration.enabled = True
    configuration.client_certificate = rotation.candidate_certificate
    configuration.client_key = rotation.candidate_key
    return configuration


def _with_previous(rotation: Rotation) -> UpstreamTLSConfiguration:
    configuration = _stored(rotation)
    configuration.enabled = rotation.previous_enabled
    configuration.client_certificate = rotation.previous_certificate
    configuration.client_key = rotation.previous_key
    return configuration


def _stored(rotation: Rotation) -> UpstreamTLSConfiguration:
    found = UpstreamTLSConfiguration.objects.filter(host_id=rotation.host_id).first()
    return found or UpstreamTLSConfiguration(host_id=rotation.host_id)
