"""retention: what is forgotten of the history."""

import datetime
import uuid

import pytest

from healthchecks import retention
from healthchecks.models import HealthSample, HealthTransition
from healthchecks.retention import KEPT_SAMPLES, forget_history_of_gone_upstreams, forget_old_samples
from tests.healthchecks.examples import NOW, checked, checked_host

pytestmark = pytest.mark.django_db


def test_samples_are_kept_for_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches; changes of state stay."""
    monkeypatch.setattr(retention, "BATCH", 2)
    checked_host(unhealthy_after=1)
    for days in range(10):
        checked(NOW - datetime.timedelta(days=days), is_ok=False)
    assert forget_old_samples(now=NOW) == 2
    assert HealthSample.objects.earliest("at").at == NOW - KEPT_SAMPLES
    assert HealthTransition.objects.count() == 1


def test_one_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left waits for the next."""
    monkeypatch.setattr(retention, "BATCH", 1)
    monkeypatch.setattr(retention, "MAX_BATCHES", 2)
    checked_host()
    for days in range(8, 12):
        checked(NOW - datetime.timedelta(days=days))
    assert [forget_old_samples(now=NOW) for _ in range(3)] == [2, 2, 0]


def test_what_upstreams_left_behind_goes() -> None:
    """That of others stays."""
    checked_host(unhealthy_after=1)
    checked(NOW, is_ok=False)
    HealthTransition.objects.create(upstream_id=uuid.uuid4(), at=NOW, previous="unknown", state="healthy")
    assert forget_history_of_gone_upstreams() == 1
    assert HealthTransition.objects.count() == 1
