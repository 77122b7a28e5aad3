"""Deadlines without a timer for each."""

import logging

import pytest

from proxyworker.net.deadlines import NEVER, Sweep


class Waiter:
    """Counts its deadlines."""

    def __init__(self, deadline: float = NEVER) -> None:
        self.deadline = deadline
        self.passed = 0

    def deadline_passed(self) -> None:
        assert self.deadline == NEVER
        self.passed += 1


class Broken(Waiter):
    """Fails at its deadline."""

    def deadline_passed(self) -> None:
        raise RuntimeError("broken")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_passes_once() -> None:
    """Not before its time, once at it, and then only when set again."""
    clock = Clock()
    sweep = Sweep(clock)
    waiter = Waiter(10)
    sweep.add(waiter)
    passed = []
    for now in (9.9, 10, 11):
        clock.now = now
        sweep.tick()
        passed.append(waiter.passed)
    assert passed == [0, 1, 1]
    waiter.deadline = 12
    clock.now = 13
    sweep.tick()
    assert (waiter.passed, sweep.now) == (2, 13)


def test_discarded_waits_no_more() -> None:
    """What is discarded is not called, and nothing is left of it."""
    sweep = Sweep(lambda: 1.0)
    waiter = Waiter(0)
    sweep.add(waiter)
    sweep.discard(waiter)
    sweep.discard(waiter)
    sweep.tick()
    assert (waiter.passed, len(sweep)) == (0, 0)


def test_one_deadline_may_end_the_wait_of_another() -> None:
    """Of two that discard or postpone each other at the same tick only one is called."""
    sweep = Sweep(lambda: 1.0)

    class Rival(Waiter):
        def deadline_passed(self) -> None:
            self.passed += 1
            sweep.discard(self.other)

        other: "Rival"

    first, second = Rival(0), Rival(0)
    first.other, second.other = second, first
    sweep.add(first)
    sweep.add(second)
    sweep.tick()
    assert first.passed + second.passed == 1
    assert len(sweep) == 1


def test_one_failure_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by name; it used to end all deadlines of the worker for good."""
    sweep = Sweep(lambda: 1.0)
    waiters = [Waiter(0), Broken(0), Waiter(0), Broken(0)]
    for waiter in waiters:
        sweep.add(waiter)
    with caplog.at_level(logging.ERROR, "aegis.proxy"):
        sweep.tick()
    assert [waiter.passed for waiter in waiters] == [1, 0, 1, 0]
    assert [record.getMessage() for record in caplog.records] == ["the deadline of a Broken failed"] * 2
