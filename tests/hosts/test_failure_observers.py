"""failure_observers: apps above are told."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hosts import failure_observers
from hosts.failure_observers import FailureObserver, register, tell_of_test, tell_of_traffic
from hosts.models import ConnectionTest

NOW = datetime(2026, 5, 1, tzinfo=UTC)

calls: list[Any] = []


def traffic(**values: Any) -> None:
    calls.append(values)


def test(test: ConnectionTest, *, now: datetime) -> None:
    calls.append((test, now))


test.__test__ = False  # type: ignore[attr-defined]


def test_every_observer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the functions that it named; the last one of a name stays."""
    monkeypatch.setattr(failure_observers, "_observers", {})
    calls.clear()
    for _ in range(2):
        register("here", FailureObserver(traffic=f"{__name__}.traffic", test=f"{__name__}.test"))
    tell_of_traffic(worker_id="w", run="r", failures=(), now=NOW)
    row = ConnectionTest()
    tell_of_test(row, now=NOW)
    assert calls == [{"worker_id": "w", "run": "r", "failures": (), "now": NOW}, (row, NOW)]
