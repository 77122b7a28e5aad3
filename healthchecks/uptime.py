"""How an upstream stood over time, from its changes of state. Pure.

Laws of this module: time of which nobody knows is UNKNOWN and counts neither for nor against; moments are exact, and
are cut only at the ends of what is asked for.
"""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from healthchecks.models import HealthState


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the state was one."""

    state: HealthState
    since: datetime.datetime
    until: datetime.datetime

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


@dataclass(frozen=True, slots=True)
class Uptime:
    """The share of the known time in which the upstream was healthy; None when nothing is known."""

    percent: float | None
    known_s: int


def stretches(
    changes: Iterable[tuple[datetime.datetime, HealthState]],
    *,
    first: HealthState,
    since: datetime.datetime,
    until: datetime.datetime,
    known_until: datetime.datetime,
) -> list[Stretch]:
    """The whole time from `since` to `until`, without gaps: `first`, and then by `changes`, the oldest first.

    From `known_until` on nobody knows. A change that says what is so anyway makes no new stretch.
    """
    end = max(since, min(until, known_until))
    marks = [(since, first), *(change for change in changes if since < change[0] < end), (end, HealthState.UNKNOWN)]
    found: list[Stretch] = []
    for (begins, state), (ends, _) in zip(marks, [*marks[1:], (until, HealthState.UNKNOWN)], strict=True):
        if begins >= ends:
            continue
        if found and found[-1].state == state:
            found[-1] = Stretch(state, found[-1].since, ends)
        else:
            found.append(Stretch(state, begins, ends))
    return found


def clipped(found: Sequence[Stretch], *, since: datetime.datetime) -> list[Stretch]:
    """What of them lies behind `since`."""
    return [
        Stretch(stretch.state, max(stretch.since, since), stretch.until) for stretch in found if stretch.until > since
    ]


def uptime(found: Iterable[Stretch]) -> Uptime:
    """Rounded down: whatever was down for a moment never has 100 %."""
    seconds = dict.fromkeys(HealthState, 0.0)
    for stretch in found:
        seconds[stretch.state] += stretch.seconds
    known_s = seconds[HealthState.HEALTHY] + seconds[HealthState.UNHEALTHY]
    if not known_s:
        return Uptime(percent=None, known_s=0)
    # In whole microseconds, so that all of the time is not 99.999 % of it.
    healthy_us, known_us = round(seconds[HealthState.HEALTHY] * 1e6), round(known_s * 1e6)
    return Uptime(percent=healthy_us * 100_000 // known_us / 1000, known_s=round(known_s))


_RANK = {HealthState.UNHEALTHY: 0, HealthState.HEALTHY: 1, HealthState.UNKNOWN: 2}


def worst_of_slots(
    found: Sequence[Stretch], *, since: datetime.datetime, until: datetime.datetime, slots: int
) -> list[HealthState]:
    """The time cut in equal parts, of each the worst that was known: a short outage is seen in a long time, too."""
    width_s = (until - since).total_seconds() / slots
    worst = [HealthState.UNKNOWN] * slots
    for stretch in found:
        first = int((stretch.since - since).total_seconds() / width_s)
        # What ends exactly where a slot begins is not in it.
        last = -int(-(stretch.until - since).total_seconds() // width_s) - 1
        rank = _RANK[stretch.state]
        for slot in range(max(0, first), min(slots - 1, last) + 1):
            if rank < _RANK[worst[slot]]:
                worst[slot] = stretch.state
    return worst
