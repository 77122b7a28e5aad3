"""Writes down what came of checks: the state of each upstream, its changes, and how often and how fast it answered.

Laws of this module:
- A result counts only for who still has the claim: one that comes after its lease is void.
- One transaction for a batch of results, with a number of queries that does not depend on their number.
- What a check found holds for FRESH_INTERVALS. When the next one comes later, the time between is written down as
  UNKNOWN, for nobody knows: history does not lie about an Aegis that was switched off. The state itself goes on.
"""

import datetime
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from healthchecks.alerts import tell_of
from healthchecks.check import Outcome
from healthchecks.claims import NOT_CHECKED, Claim
from healthchecks.failures.models import MESSAGE_CHARACTERS, Source
from healthchecks.failures.sightings import Sighting, record_sightings
from healthchecks.models import HealthState, HealthTransition, UpstreamHealth
from healthchecks.states import Standing, advanced, next_due
from healthchecks.summaries import count_checks
from hosts.upstream_failures import printable

# As long as workers believe the feed; and, for short intervals, what a restart of the checks may take.
FRESH_INTERVALS = 3
FRESH_GRACE_S = 15.0

_UPDATED = (
    "state",
    "since",
    "successes",
    "failures",
    "checked_at",
    "fresh_until",
    "is_ok",
    "duration_ms",
    "status",
    "code",
    "message",
    "next_due_at",
    "claim",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A claim and what came of it. None: nothing is known, so nothing is counted."""

    claim: Claim
    outcome: Outcome | None


@transaction.atomic
def record(results: Sequence[Result], *, now: datetime.datetime) -> list[HealthTransition]:
    """Writes down a batch. The changes of state that it brought; what is only about the past is not among them."""
    by_upstream = {result.claim.upstream_id: result for result in results}
    rows = [
        row
        for row in UpstreamHealth.objects.select_for_update().filter(pk__in=list(by_upstream))
        if row.claim == by_upstream[row.pk].claim.claim_id
    ]
    checks: list[tuple[uuid.UUID, Outcome]] = []
    gaps: list[HealthTransition] = []
    transitions: list[HealthTransition] = []
    for row in rows:
        result = by_upstream[row.pk]
        row.claim = None
        row.next_due_at = next_due(result.claim.due_at, interval_s=result.claim.interval_s, now=now)
        if result.outcome is not None:
            checks.append((row.pk, result.outcome))
            gaps.extend(_gap(row, result.outcome))
            transitions.extend(_advance(row, result.claim, result.outcome))
    # The rows exist and are locked, so this only updates, in one statement without a branch for each row.
    UpstreamHealth.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["upstream"], update_fields=list(_UPDATED)
    )
    count_checks(checks)
    HealthTransition.objects.bulk_create([*gaps, *transitions])
    tell_of(transitions)
    record_sightings(_failures(rows, by_upstream), now=now)
    return transitions


def _gap(row: UpstreamHealth, outcome: Outcome) -> list[HealthTransition]:
    """The time before this check for which no other one speaks, as changes to UNKNOWN and back."""
    if row.state == HealthState.UNKNOWN or row.fresh_until is None or outcome.at <= row.fresh_until:
        return []
    unknown = HealthState.UNKNOWN
    return [
        HealthTransition(
            upstream_id=row.pk, at=row.fresh_until, previous=row.state, state=unknown, message=NOT_CHECKED
        ),
        HealthTransition(
            upstream_id=row.pk, at=outcome.at, previous=unknown, state=row.state, message="Checked again."
        ),
    ]


def _failures(rows: Sequence[UpstreamHealth], by_upstream: Mapping[uuid.UUID, Result]) -> list[Sighting]:
    """For the failure inbox; none costs nothing there."""
    return [
        Sighting(
            host_id=result.claim.host_id,
            upstream_id=row.pk,
            code=result.outcome.code,
            message=row.message,
            at=result.outcome.at,
            source=Source.CHECK,
        )
        for row in rows
        if (result := by_upstream[row.pk]).outcome is not None and not result.outcome.is_ok
    ]


def _advance(row: UpstreamHealth, claim: Claim, outcome: Outcome) -> list[HealthTransition]:
    """Bring the row up to date; the change of state, if it is one."""
    before = Standing(state=HealthState(row.state), successes=row.successes, failures=row.failures)
    after = advanced(
        before, is_ok=outcome.is_ok, healthy_after=claim.healthy_after, unhealthy_after=claim.unhealthy_after
    )
    row.state, row.successes, row.failures = after.state, after.successes, after.failures
    row.checked_at, row.is_ok, row.duration_ms = outcome.at, outcome.is_ok, outcome.duration_ms
    row.fresh_until = outcome.at + datetime.timedelta(seconds=FRESH_INTERVALS * claim.interval_s + FRESH_GRACE_S)
    row.status, row.code, row.message = outcome.status, outcome.code, printable(outcome.message, MESSAGE_CHARACTERS)
    if after.state == before.state:
        return []
    row.since = outcome.at
    return [
        HealthTransition(
            upstream_id=row.pk,
            at=outcome.at,
            previous=before.state,
            state=after.state,
            code=outcome.code,
            message=row.message,
        )
    ]
