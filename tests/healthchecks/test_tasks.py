"""tasks: the periodic work of health checks."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.celery import app
from healthchecks import tasks
from healthchecks.models import HealthSample
from healthchecks.tasks import prune_health_history, sweep_health_checks
from tests.healthchecks.examples import checked, checked_host

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


def test_old_samples_are_pruned() -> None:
    """By now."""
    checked_host()
    checked(timezone.now() - datetime.timedelta(days=8))
    prune_health_history()
    assert not HealthSample.objects.exists()


def test_beat_knows_both() -> None:
    """A sweep that waited in the queue is not worth doing."""
    entries = {entry["task"]: entry for entry in app.conf.beat_schedule.values()}
    sweep = entries["healthchecks.tasks.sweep_health_checks"]
    assert (sweep["schedule"], sweep["options"]) == (1.0, {"expires": 5.0})
    assert "healthchecks.tasks.prune_health_history" in entries
