"""Work that takes longer than a request may wait, in turns on the reactor thread.

Laws of this module: a step of the work takes milliseconds; after TURN_S of steps the others have their turn. A thread
would not do better: it takes the interpreter's lock for 5 ms at a time, wherever it just is.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator

TURN_S = 0.005


class _Turn:
    """Says when a turn is over, as Cooperator asks for it."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + TURN_S

    def __call__(self) -> bool:
        return time.monotonic() >= self._ends_at


class Turns:
    """`soon(function)` calls it in the reactor's next turn and returns an IDelayedCall."""

    def __init__(self, soon: Callable[[Callable[[], None]], Any]) -> None:
        self._cooperator = Cooperator(terminationPredicateFactory=_Turn, scheduler=soon)

    def joined(self, parts: Iterator[bytes]) -> Deferred[bytes]:
        """All parts in one piece, made one after the other."""
        made: list[bytes] = []

        def collect() -> Iterator[None]:
            for part in parts:
                made.append(part)
                yield

        return self._cooperator.coiterate(collect()).addCallback(lambda _: b"".join(made))
