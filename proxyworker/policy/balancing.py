"""Which upstream a request tries, and in which order the others follow."""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class RoundRobin(Generic[T]):
    """Hands out the targets in turn. Not thread-safe: it lives on the reactor thread."""

    __slots__ = ("_next", "_targets")

    def __init__(self, targets: Sequence[T]) -> None:
        self._targets = tuple(targets)
        self._next = 0

    def order(self) -> tuple[T, ...]:
        """All targets, beginning with the one whose turn it is; empty when there is none."""
        targets = self._targets
        if len(targets) < 2:
            return targets
        start = self._next
        self._next = (start + 1) % len(targets)
        return targets[start:] + targets[:start]
