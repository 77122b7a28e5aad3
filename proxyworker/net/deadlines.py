"""Deadlines without a timer for each: one sweep over everything that waits.

Laws of this module: a deadline is an attribute, so setting one costs nothing; it passes up to one tick late. `now` is
the time of the last tick, good enough for deadlines of seconds.
"""

import logging
from collections.abc import Callable, MutableSet
from typing import Protocol

log = logging.getLogger("aegis.proxy")

TICK_S = 0.25

NEVER = float("inf")


class Waits(Protocol):
    """Something with a deadline, on the clock of the sweep."""

    deadline: float

    def deadline_passed(self) -> None:
        """Called once for each deadline that passed; the deadline is NEVER by then."""


class Sweep:
    """All that waits in this process. `clock` gives monotonic seconds, `now` those of the last tick."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._waiting: MutableSet[Waits] = set()
        self.now = clock()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waits: Waits) -> None:
        """From now on its deadline is looked at."""
        self._waiting.add(waits)

    def discard(self, waits: Waits) -> None:
        """From now on its deadline is ignored."""
        self._waiting.discard(waits)

    def tick(self) -> None:
        """To be called every TICK_S."""
        self.now = now = self.clock()
        for waits in [waits for waits in self._waiting if waits.deadline <= now]:
            # What one deadline sets off may have ended another's wait, or begun a new one.
            if waits in self._waiting and waits.deadline <= now:
                waits.deadline = NEVER
                try:
                    waits.deadline_passed()
                except Exception:  # the deadlines of all others must go on
                    log.exception("the deadline of a %s failed", type(waits).__name__)
