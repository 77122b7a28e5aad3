"""retention: what is forgotten, and what is not."""

from typing import Any

import pytest

from aegis_site.kernel.notifications import retention
from aegis_site.kernel.notifications.distribution import distribute
from aegis_site.kernel.notifications.events import EventKind, tell, tell_all
from aegis_site.kernel.notifications.models import Delivery, DeliveryState, Incident, MaintenanceWindow, NotedEvent
from aegis_site.kernel.notifications.retention import forget
from tests.aegis_site.kernel.notifications.examples import NOW, at, channel, event

pytestmark = pytest.mark.django_db


def test_what_is_old_is_forgotten() -> None:
    """Messages and events after a month, incidents after three; what lasts, or waits, is kept."""
    channel()
    tell_all([event(), event(subject="upstream:2"), event(EventKind.UPSTREAM_UP, subject="upstream:2")])
    tell(event(subject="upstream:3", group="host:3", at=at(days=20)))
    distribute(now=NOW)
    Delivery.objects.update(created_at=NOW, state=DeliveryState.DELIVERED)
    MaintenanceWindow.objects.create(name="x", begins_at=at(days=-400), ends_at=at(days=-390), whole_site=True)
    assert forget(now=at(days=29)) == 1
    forget(now=at(days=31))
    assert not Delivery.objects.exists()
    kept = set(NotedEvent.objects.values_list("subject", "kind"))
    assert ("upstream:1", "upstream_down") in kept
    assert ("upstream:2", "upstream_up") not in kept
    forget(now=at(days=100))
    assert set(Incident.objects.values_list("subject", flat=True)) == {"upstream:3"}
    forget(now=at(days=120))
    assert set(NotedEvent.objects.values_list("subject", flat=True)) == {"upstream:3"}


def test_what_a_long_maintenance_mutes_is_remembered() -> None:
    """It is told when the window ends, however long that takes."""
    tell(event())
    Incident.objects.update(is_muted=True)
    forget(now=at(days=200))
    assert Incident.objects.count() == 1
    Incident.objects.update(ended_at=at(days=1))
    forget(now=at(days=200))
    assert Incident.objects.count() == 0


def test_it_works_in_batches_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run does so much and leaves the rest to the next one; writers do not wait for all of it."""
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "MAX_BATCHES", 2)
    owner = channel()
    for _ in range(5):
        Delivery.objects.create(channel=owner, group="g", due_at=NOW, state=DeliveryState.DELIVERED)
    Delivery.objects.update(created_at=NOW)
    assert (forget(now=at(days=31)), forget(now=at(days=31)), forget(now=at(days=31))) == (4, 1, 0)


def test_what_begins_again_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was old when it was looked for is looked at again when it is deleted."""
    tell_all([event(), event(EventKind.UPSTREAM_UP)])
    real = retention._delete_batch

    def late(*args: Any) -> None:
        tell(event(at=at(days=100)))
        real(*args)

    monkeypatch.setattr(retention, "_delete_batch", late)
    forget(now=at(days=100))
    [incident] = Incident.objects.all()
    assert (incident.ended_at, incident.told_at) == (None, at(days=100))
