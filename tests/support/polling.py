"""Waiting for what other processes do, with a deadline instead of a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(question: Callable[[], T], *, within_s: float, every_s: float = 0.02) -> T:
    """The first true answer. Raises AssertionError, with the last answer, when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {within_s} s; last answer: {answer!r}"
        time.sleep(every_s)
    return answer
