"""tasks: the periodic work of health checks."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.celery import app
from healthchecks import tasks
from healthchecks.failures.models import FailureCount, FailureGroup
from healthchecks.models import HealthSummary
from healthchecks.tasks import prune_health_history, settle_failures, sweep_health_checks, take_failure_counts
from tests.healthchecks.examples import checked, checked_host
from tests.healthchecks.failures.examples import failed, keep, reported
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


class CountingSweeper:
    """Counts sweeps."""

    def __init__(self) -> None:
        self.sweeps = 0

    def sweep(self) -> None:
        self.sweeps += 1


def test_a_sweep_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often its message is delivered."""
    sweeper = CountingSweeper()
    monkeypatch.setattr(tasks, "process_sweeper", lambda: sweeper)
    sweep_health_checks()
    sweep_health_checks()
    assert sweeper.sweeps == 2


def test_old_history_is_summed_up_and_forgotten() -> None:
    """By now; doing it again changes nothing."""
    checked_host()
    checked(timezone.now() - datetime.timedelta(days=40))
    checked(timezone.now() - datetime.timedelta(days=1))
    prune_health_history()
    prune_health_history()
    assert list(HealthSummary.objects.values_list("span_s", "count")) == [(600, 1)]


def test_counts_of_workers_are_taken() -> None:
    """Into the failure inbox."""
    keep(reported(make_host()))
    take_failure_counts()
    assert FailureGroup.objects.get().traffic_count == 3


def test_failures_are_settled() -> None:
    """Those not seen for a day are resolved; counts that nobody goes on from are forgotten."""
    host = make_host()
    failed(host, at=timezone.now() - datetime.timedelta(days=2))
    keep(reported(host), now=timezone.now() - datetime.timedelta(days=8))
    settle_failures()
    assert FailureGroup.objects.get().state == "resolved"
    assert not FailureCount.objects.exists()


def test_beat_knows_them() -> None:
    """A sweep that waited in the queue is not worth doing."""
    entries = {entry["task"]: entry for entry in app.conf.beat_schedule.values()}
    sweep = entries["healthchecks.tasks.sweep_health_checks"]
    assert (sweep["schedule"], sweep["options"]) == (1.0, {"expires": 5.0})
    for name in ("prune_health_history", "take_failure_counts", "settle_failures"):
        assert f"healthchecks.tasks.{name}" in entries
