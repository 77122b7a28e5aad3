"""The steps that a rotation takes by itself, in the Celery worker.

Laws of this module:
- A step is claimed by a compare-and-set of `due_at`, which is also its deadline: when the process that took it dies,
  the sweep takes it again then. What a step found counts only while its claim stands.
- Upstreams are probed outside of transactions; what follows is decided under the host's lock.
- A round of probes before the promotion is a step, PROBING, noted when it is claimed. The rounds of a watch are none:
  there is one every two seconds, and only what comes of them is noted.
- An identity is rolled back when an upstream that admitted it refuses it, or requests fail clearly more often since it
  is in use; and an upstream lets the previous one in.
"""

import datetime
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.errors import AegisError
from hosts.connection_test_run import PROBE_TIMEOUT_S
from hosts.models import Host, Scheme, Upstream
from hosts.rotation import probing
from hosts.rotation.error_rate import ERRORS_ROSE, hear_workers, rise_since_promotion
from hosts.rotation.judging import Document, Verdict, in_short, is_admitted, is_identity_refused, judge, reason
from hosts.rotation.models import BEFORE_PROMOTION, Rotation, RotationSource, RotationState
from hosts.rotation.selectors import (
    candidate_pair,
    https_upstreams,
    is_probe_outdated,
    pair_in_use,
    refused_in_traffic,
)
from hosts.rotation.transitions import WATCH, WATCH_EVERY, drain, enter, locked, promote, roll_back, supersede, text_of
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.selectors import known_certificates

logger = logging.getLogger(__name__)

# What a step takes besides its probes.
SLACK_S = 3.0
# Above all deadlines of steps: probing the largest host takes 26 s when nothing answers.
LONGEST_STEP = datetime.timedelta(seconds=60)
# A round begins every two seconds, or when the one before it ended, seen by a sweep each second; who refuses says so at
# once, whoever else hangs, and so does the previous identity's upstream: within the ten seconds of a rolling back.
WATCH_TIMEOUT_S = 2.0
# A refused candidate that nobody has uploaded is tried again: after five minutes, then twice as long each time.
RETRY_FIRST = datetime.timedelta(minutes=5)
RETRY_LONGEST = datetime.timedelta(hours=6)
AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why an identity is to be rolled back; or, unless `is_certain`, what somebody should look at."""

    code: str
    message: str
    is_certain: bool = True


# Which identity is tried on which upstream.
_Watched: TypeAlias = tuple[bool, int]
_NEW, _PREVIOUS = True, False


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
    found = Rotation.objects.due(now, longest_step=LONGEST_STEP).filter(pk=rotation_id).first()
    if found is None:
        return None
    claimed = RotationState.PROBING if found.state in BEFORE_PROMOTION else RotationState(found.state)
    deadline = now + _time_for(rotation_id, claimed)
    with transaction.atomic():
        current = locked(found)
        if current is None:
            logger.info("rotation %s: another run took the step", rotation_id)
        elif claimed == RotationState.PROBING:
            message = "Tried on each enabled https upstream, beside what is in use."
            enter(current, claimed, user=None, message=message, due_at=deadline)
        else:
            current.due_at = deadline
            current.save(update_fields=["due_at"])
    return current


def _time_for(rotation_id: uuid.UUID, state: str) -> datetime.timedelta:
    """The deadline of a step: ten seconds for a few upstreams, more where not all can be probed at once. One query."""
    upstreams = Upstream.objects.filter(host__rotations=rotation_id, enabled=True, scheme=Scheme.HTTPS).count()
    seconds = 0.0
    if state == RotationState.PROBING:
        seconds = probing.longest_s(2 * upstreams, timeout_s=PROBE_TIMEOUT_S)
    elif state == RotationState.WATCHING:  # first the new identity, then the previous one
        seconds = _watch_longest_s(upstreams)
    return datetime.timedelta(seconds=seconds + SLACK_S)


def _watch_longest_s(upstreams: int) -> float:
    return 2 * probing.longest_s(upstreams, timeout_s=WATCH_TIMEOUT_S, at_once=probing.MAX_WATCHED)


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
    overridden = rotation.override_admits if rotation.override_reason else []
    if new := [probe for probe in bad if [probe["upstream"], probe["target"]] not in overridden]:
        _refuse(rotation, new)
        return
    count = len(rotation.probes)
    if bad:
        message = f"Admitted by {count - len(bad)} of {count} upstreams; the others are those of the override."
    elif count:
        message = f"Admitted by {count} upstream{'' if count == 1 else 's'}."
    else:
        message = "The host has no enabled https upstream: there was nothing to probe."
    waits = rotation.is_manual and not rotation.is_confirmed and not rotation.override_reason
    enter(rotation, RotationState.READY, user=None, code="" if count else "nothing_to_probe", message=message)
    if not waits:
        promote(rotation, user=None)


def _refuse(rotation: Rotation, bad: Sequence[Document]) -> None:
    """What an override was not given for ends it: whoever gave it did not know of this."""
    first = bad[0]
    more = f" And {len(bad) - 1} more." if len(bad) > 1 else ""
    message = f"{first['target']}: {first['message']}{more}"
    if rotation.override_reason:
        message += " It did not refuse when a reason to promote was given, so that does not count for it."
        rotation.override_reason, rotation.override_admits = "", []
    due_at = timezone.now() + _retry_after(rotation) if rotation.source == RotationSource.RENEWED else None
    enter(rotation, RotationState.REFUSED, user=None, code=first["code"], message=message, due_at=due_at)


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
    round_begun = timezone.now()
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
        elif refusal is not None and refusal.is_certain:
            roll_back(current, code=refusal.code, message=refusal.message)
        # A clock that was set back does not make the watch longer than one that was not.
        elif begun is None or not begun <= now < begun + WATCH:
            drain(current)
        elif refusal is not None:
            state, due_at = RotationState.WATCHING, now + WATCH_EVERY
            enter(current, state, user=None, code=refusal.code, message=refusal.message, due_at=due_at)
        else:
            current.due_at = max(round_begun + WATCH_EVERY, now)
            current.save(update_fields=["due_at"])


def _refusal(rotation: Rotation, host: Host) -> _Refusal | None:
    """Of the upstreams that refuse what is in use, the first that lets the previous identity in.

    Whoever refuses is tried with the previous one at once; nobody waits for upstreams that say nothing.
    """
    admitted = {probe["upstream"]: probe for probe in rotation.probes if probe["verdict"] == Verdict.ADMITTED}
    upstreams = [upstream for upstream in https_upstreams(host) if str(upstream.pk) in admitted]
    present = probing.attempts_at(upstreams, host=host, configuration=host.upstream_configuration)
    previous = probing.attempts_at(upstreams, host=host, configuration=_with_previous(rotation))
    hear_workers()  # for the next round
    rise = rise_since_promotion(rotation)
    suspects = _suspected(rotation, upstreams, rise)
    with probing.Probes[_Watched](timeout_s=WATCH_TIMEOUT_S, at_once=probing.MAX_WATCHED) as probes:
        for number in range(len(upstreams)):
            probes.add((_NEW, number), present[number])
        for number in suspects:
            probes.add((_PREVIOUS, number), previous[number])
        for (is_new, number), document in probes.results(within_s=_watch_longest_s(len(upstreams))):
            usual_status = admitted[str(upstreams[number].pk)]["then" if is_new else "now"]["http_status"]
            if document is None:
                continue
            if not is_new:
                if is_admitted(document, usual_status=usual_status):
                    return suspects[number]
            elif number not in suspects and is_identity_refused(document, usual_status=usual_status):
                code, message = reason(document)
                suspects[number] = _Refusal(code=code, message=f"{upstreams[number]}: {message}")
                probes.add((_PREVIOUS, number), previous[number])
    # Without an upstream that lets the previous identity in, to go back would be of no use.
    warning = _Refusal(code=ERRORS_ROSE, message=f"{rise}.", is_certain=False) if rise else None
    if not suspects:
        return warning
    logger.warning("rotation %s: upstreams refuse the previous identity as well, so the new one stays", rotation.pk)
    return warning


def _suspected(rotation: Rotation, upstreams: Sequence[Upstream], rise: str) -> dict[int, _Refusal]:
    """By number of the upstream, what traffic met there. After a rise of errors it may be any of them."""
    in_traffic = refused_in_traffic(rotation)
    found: dict[int, _Refusal] = {}
    for number, upstream in enumerate(upstreams):
        if (failure := in_traffic.get(upstream.pk)) is not None:
            text = f"{upstream}, met by traffic: {failure.reason or failure.code}"
            found[number] = _Refusal(code=failure.code, message=text)
        # Who promoted it although an upstream refuses it has said so: that one's errors are no news.
        elif rise and not rotation.override_reason:
            found[number] = _Refusal(code=ERRORS_ROSE, message=f"{upstream}: {rise}.")
    return found


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
