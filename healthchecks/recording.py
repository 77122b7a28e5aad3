"""Writes down what came of checks: the state of each upstream, its changes, and a sample of each check.

Laws of this module:
- A result counts only for who still has the claim: one that comes after its lease is void.
- One transaction for a batch of results, with a number of queries that does not depend on their number.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from healthchecks.check import Outcome
from healthchecks.claims import Claim
from healthchecks.models import HealthSample, HealthState, HealthTransition, UpstreamHealth
from healthchecks.states import Standing, advanced, next_due

_MAX_MESSAGE_CHARACTERS = 500
_UPDATED = (
    "state",
    "since",
    "successes",
    "failures",
    "checked_at",
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
    """Writes down a batch. The changes of state that it brought."""
    by_upstream = {result.claim.upstream_id: result for result in results}
    rows = [
        row
        for row in UpstreamHealth.objects.select_for_update().filter(pk__in=list(by_upstream))
        if row.claim == by_upstream[row.pk].claim.claim_id
    ]
    samples: list[HealthSample] = []
    transitions: list[HealthTransition] = []
    for row in rows:
        result = by_upstream[row.pk]
        row.claim = None
        row.next_due_at = next_due(result.claim.due_at, interval_s=result.claim.interval_s, now=now)
        if result.outcome is not None:
            samples.append(_sample(row, result.outcome))
            transitions.extend(_advance(row, result.claim, result.outcome))
    # The rows exist and are locked, so this only updates, in one statement without a branch for each row.
    UpstreamHealth.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["upstream"], update_fields=list(_UPDATED)
    )
    HealthSample.objects.bulk_create(samples)
    HealthTransition.objects.bulk_create(transitions)
    return transitions


def _sample(row: UpstreamHealth, outcome: Outcome) -> HealthSample:
    return HealthSample(
        upstream_id=row.pk,
        at=outcome.at,
        is_ok=outcome.is_ok,
        duration_ms=outcome.duration_ms,
        status=outcome.status,
        code=outcome.code,
    )


def _advance(row: UpstreamHealth, claim: Claim, outcome: Outcome) -> list[HealthTransition]:
    """Bring the row up to date; the change of state, if it is one."""
    before = Standing(state=HealthState(row.state), successes=row.successes, failures=row.failures)
    after = advanced(
        before, is_ok=outcome.is_ok, healthy_after=claim.healthy_after, unhealthy_after=claim.unhealthy_after
    )
    row.state, row.successes, row.failures = after.state, after.successes, after.failures
    row.checked_at, row.is_ok, row.duration_ms = outcome.at, outcome.is_ok, outcome.duration_ms
    row.status, row.code, row.message = outcome.status, outcome.code, _printable(outcome.message)
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


def _printable(text: str) -> str:
    """What the column takes: a message may quote names from an upstream's certificate."""
    return "".join(character if character.isprintable() else "?" for character in text)[:_MAX_MESSAGE_CHARACTERS]
