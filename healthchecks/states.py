"""From one check to the next: how the state of an upstream moves, and when its next check is due. Pure.

Laws of this module: one check never changes the state unless a threshold is one; times keep their phase, so that
checks that were spread over the interval stay spread.
"""

import datetime
import math
from dataclasses import dataclass

from healthchecks.models import HealthState


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an upstream stands: its state, and how many checks went well, or failed, in a row."""

    state: HealthState
    successes: int
    failures: int


def advanced(standing: Standing, *, is_ok: bool, healthy_after: int, unhealthy_after: int) -> Standing:
    """After one more check."""
    successes = standing.successes + 1 if is_ok else 0
    failures = 0 if is_ok else standing.failures + 1
    state = standing.state
    if successes >= healthy_after:
        state = HealthState.HEALTHY
    elif failures >= unhealthy_after:
        state = HealthState.UNHEALTHY
    return Standing(state=state, successes=successes, failures=failures)


def next_due(due_at: datetime.datetime, *, interval_s: float, now: datetime.datetime) -> datetime.datetime:
    """The first moment after `now` that is a whole number of intervals after `due_at`."""
    missed = math.floor(max(0.0, (now - due_at).total_seconds()) / interval_s)
    return due_at + datetime.timedelta(seconds=interval_s * (missed + 1))
