"""The sweeps."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.celery import app
from hosts import connection_test_run
from hosts.connection_tests import ANSWER_WITHIN, request_tests_as_stored
from hosts.models import CompiledHost, ConnectionTest, Host, ProxyWorker
from hosts.tasks import (
    FORGET_WORKER_AFTER,
    compile_changed_hosts,
    expire_lost_connection_tests,
    forget_certificate_requests,
    forget_lost_workers,
    run_connection_tests,
)
from tests.hosts.connection_examples import FakeProbe
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def test_missed_compiles_heal() -> None:
    """A host whose process died after saving, and one deleted behind our back; a second run changes nothing."""
    host = make_host("saved")
    gone = make_host("gone")
    compile_changed_hosts()
    Host.objects.filter(pk=gone.pk).delete()
    compile_changed_hosts()
    assert CompiledHost.objects.get(pk=gone.pk).is_tombstone
    generation = CompiledHost.objects.get(pk=host.pk).generation
    compile_changed_hosts()
    assert CompiledHost.objects.get(pk=host.pk).generation == generation
    assert CompiledHost.objects.count() == 2


def test_workers_that_are_gone_are_forgotten() -> None:
    """Those that reported within the hour stay."""
    now = timezone.now()
    ProxyWorker.objects.create(worker_id="old", last_seen_at=now - FORGET_WORKER_AFTER - datetime.timedelta(seconds=1))
    ProxyWorker.objects.create(worker_id="new", last_seen_at=now)
    forget_lost_workers()
    assert [worker.worker_id for worker in ProxyWorker.objects.all()] == ["new"]


def test_connection_tests_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often their message is delivered."""
    probe = FakeProbe()
    monkeypatch.setattr(connection_test_run, "probe", probe)
    host = make_host()
    request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    test_ids = [str(ConnectionTest.objects.get().pk)]
    run_connection_tests(test_ids)
    run_connection_tests(test_ids)
    assert len(probe.targets) == 1


def test_lost_connection_tests_expire() -> None:
    """With the key that was pasted for them."""
    host = make_host()
    request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    ConnectionTest.objects.update(state="running", created_at=timezone.now() - ANSWER_WITHIN)
    expire_lost_connection_tests()
    test = ConnectionTest.objects.get()
    assert (test.state, test.job) == ("expired", None)


def test_the_sweeps_stand_in_the_beat_table() -> None:
    """Under the names that Celery knows them by."""
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    sweeps = (
        compile_changed_hosts,
        forget_certificate_requests,
        forget_lost_workers,
        expire_lost_connection_tests,
    )
    assert {sweep.name for sweep in sweeps} <= scheduled
