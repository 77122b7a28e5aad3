"""The sweeps."""

import datetime

import pytest
from django.utils import timezone

from aegis_site.celery import app
from hosts.models import CompiledHost, Host, ProxyWorker
from hosts.tasks import FORGET_WORKER_AFTER, compile_changed_hosts, forget_lost_workers
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


def test_the_sweeps_stand_in_the_beat_table() -> None:
    """Under the names that Celery knows them by."""
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {compile_changed_hosts.name, forget_lost_workers.name} <= scheduled
