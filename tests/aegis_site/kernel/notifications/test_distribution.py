"""distribution: who hears of what, when, and together with what. Time is simulated."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.notifications import distribution
from aegis_site.kernel.notifications.distribution import MAX_EVENTS, MAX_OPEN, distribute, remind
from aegis_site.kernel.notifications.events import EventKind, tell, tell_all
from aegis_site.kernel.notifications.models import Delivery, Incident, MaintenanceWindow, NotedEvent, Outcome
from aegis_site.kernel.notifications.services import save_window
from hosts.models import Host
from tests.aegis_site.kernel.notifications.examples import NOW, at, channel, event
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

DOWN, UP, UNSERVED = EventKind.UPSTREAM_DOWN, EventKind.UPSTREAM_UP, EventKind.HOST_WITHOUT_UPSTREAM


def window(begins: datetime.datetime, ends: datetime.datetime, *hosts: Host) -> MaintenanceWindow:
    values = {"name": "move", "begins_at": begins, "ends_at": ends, "whole_site": not hosts, "hosts": hosts}
    return save_window(window=MaintenanceWindow(), values=values, user=None)


def messages() -> list[tuple[str, datetime.datetime, int]]:
    """Of each message: channel, when it is due, and how many events it has."""
    rows = Delivery.objects.order_by("due_at", "channel__name").select_related("channel")
    return [(row.channel.name, row.due_at, row.events.count()) for row in rows]


def outcomes() -> list[str]:
    return list(NotedEvent.objects.order_by("pk").values_list("outcome", flat=True))


def test_each_channel_hears_what_it_wants() -> None:
    """Once; a channel that is off hears nothing, and what nobody wants is noted."""
    channel(name="all")
    channel("slack", name="ends", events=[UP])
    channel("discord", name="off", enabled=False)
    tell(event())
    assert (distribute(now=NOW), distribute(now=NOW)) == (1, 0)
    assert messages() == [("all", NOW, 1)]
    assert outcomes() == [Outcome.TOLD]


def test_without_channels_events_are_noted() -> None:
    """So that one sees what would have been told."""
    tell(event())
    distribute(now=NOW)
    assert (outcomes(), messages()) == ([Outcome.UNHEARD], [])


def test_a_group_is_told_together() -> None:
    """Within the grouping time of the first; other groups have messages of their own."""
    channel(group_s=60)
    tell_all([event(), event(subject="upstream:3", group="host:other")])
    distribute(now=NOW)
    tell_all([event(subject="upstream:2", at=at(seconds=30)), event(UNSERVED, subject="host:1", at=at(seconds=30))])
    distribute(now=at(seconds=30))
    assert sorted(messages()) == [("webhook", at(seconds=60), 1), ("webhook", at(seconds=60), 3)]


def test_events_after_an_attempt_make_another_message() -> None:
    """What was perhaps sent is not changed any more."""
    channel()
    tell(event())
    distribute(now=NOW)
    Delivery.objects.update(attempts=1)
    tell(event(UP, at=at(seconds=5)))
    distribute(now=at(seconds=5))
    assert [events for _, _, events in messages()] == [1, 1]


def test_flaps_are_told_together() -> None:
    """From the fourth time on within ten minutes they wait for each other, and hold up nothing else."""
    channel(group_s=60)
    tell(event())
    for minute in range(1, 7):
        tell_all([event(UP, at=at(minutes=minute)), event(at=at(minutes=minute, seconds=1))])
        distribute(now=at(minutes=minute, seconds=1))
        Delivery.objects.filter(due_at__lte=at(minutes=minute + 1)).update(attempts=1)
    last = Delivery.objects.get(attempts=0)
    assert (last.due_at, last.events.count()) == (at(minutes=15, seconds=1), 4)
    tell(event(UNSERVED, subject="host:1", at=at(minutes=7)))
    distribute(now=at(minutes=7))
    last.refresh_from_db()
    assert (last.due_at, last.events.count()) == (at(minutes=8), 5)


def test_quiet_hours_wait_for_the_morning() -> None:
    """All of it in one message; what is critical passes, unless it may not."""
    night = datetime.datetime(2026, 5, 4, 22, 30, tzinfo=datetime.UTC)
    morning = datetime.datetime(2026, 5, 5, 5, 0, tzinfo=datetime.UTC)
    hours = {"quiet_from": datetime.time(23), "quiet_to": datetime.time(7), "time_zone": "Europe/Berlin"}
    channel(name="a", **hours)
    channel("slack", name="b", critical_passes=False, **hours)
    tell_all([event(at=night), event(group="host:2", subject="upstream:2", at=night)])
    tell(event(UNSERVED, subject="host:1", at=night))
    distribute(now=night)
    assert messages() == [("a", night, 1), ("a", morning, 2), ("b", morning, 3)]


def test_a_window_mutes_its_hosts() -> None:
    """By the moment of the event; the end of what was muted is muted as well."""
    channel()
    host = make_host("orders")
    window(NOW, at(hours=1), host)
    mine = {"group": f"host:{host.pk}"}
    tell_all([event(**mine), event(subject="upstream:2", group="host:other")])
    tell(event(subject="upstream:3", at=at(hours=1), **mine))
    distribute(now=at(minutes=1))
    assert outcomes() == [Outcome.MUTED, Outcome.TOLD, Outcome.TOLD]
    tell(event(UP, at=at(hours=2), **mine))
    assert outcomes()[-1] == Outcome.MUTED


def test_what_outlasts_a_window_is_told_after_it() -> None:
    """Once, with its beginning; what ended in it is not."""
    channel()
    window(NOW, at(hours=1))
    tell_all([event(), event(subject="upstream:2"), event(UP, subject="upstream:2", at=at(minutes=5))])
    tell(event(EventKind.TLS_FAILURE, subject="upstream:1:expired"))
    distribute(now=at(minutes=6))
    assert set(outcomes()) == {Outcome.MUTED}
    assert remind(now=at(minutes=59)) == 0
    assert (remind(now=at(hours=1)), remind(now=at(hours=1))) == (1, 0)
    distribute(now=at(hours=1))
    told = NotedEvent.objects.get(outcome=Outcome.TOLD)
    assert (told.kind, told.subject, told.since, told.at) == (DOWN, "upstream:1", NOW, at(hours=1))


def test_what_lasts_is_told_again_every_day() -> None:
    """Until it ends; what has no end is not repeated."""
    channel()
    tell_all([event(), event(EventKind.TLS_FAILURE, subject="upstream:1:expired")])
    distribute(now=NOW)
    assert remind(now=at(hours=23)) == 0
    assert (remind(now=at(hours=24)), remind(now=at(hours=24, minutes=1))) == (1, 0)
    tell(event(UP, at=at(hours=25)))
    assert remind(now=at(hours=49)) == 0
    assert NotedEvent.objects.latest("pk").since == NOW


def test_what_maintenance_covers_hides_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it there is, in each sweep; what comes after it is told."""
    monkeypatch.setattr(distribution, "EVENTS_AT_ONCE", 2)
    channel()
    host = make_host("orders")
    window(NOW, at(days=3), host)
    window(NOW, at(hours=1))
    mine = [event(subject=f"upstream:{number}", group=f"host:{host.pk}") for number in range(5)]
    tell_all([*mine, *(event(subject=f"upstream:o{number}", group="host:other") for number in range(3))])
    while distribute(now=at(minutes=1)):
        pass
    assert [remind(now=at(hours=1)) for _ in range(3)] == [2, 1, 0]
    told = NotedEvent.objects.filter(at=at(hours=1)).values_list("subject", flat=True)
    assert sorted(told) == ["upstream:o0", "upstream:o1", "upstream:o2"]


def test_incidents_are_muted_in_order() -> None:
    """They are locked as `tell` locks them, or the two could wait for each other for good."""
    window(NOW, at(hours=1))
    tell_all([event(subject=f"upstream:{number}") for number in range(3)])
    with CaptureQueriesContext(connection) as queries:
        distribute(now=at(minutes=1))
    found = [query["sql"] for query in queries if Incident._meta.db_table in query["sql"]]
    assert [sql.partition(" ")[0] for sql in found] == ["SELECT", "UPDATE"]
    assert "ORDER BY 1 ASC" in found[0]


def test_a_channel_is_not_flooded() -> None:
    """When many hosts go down at once, most of them share a message, and what follows joins it."""
    channel(group_s=60)
    tell_all([event(subject=f"upstream:{number}", group=f"host:{number}") for number in range(MAX_OPEN + 50)])
    distribute(now=NOW)
    assert sorted(events for _, _, events in messages()) == [1] * MAX_OPEN + [50]
    tell_all([event(subject="upstream:x", group="host:x"), event(subject="upstream:y", group="host:1")])
    distribute(now=at(seconds=5))
    assert sorted(events for _, _, events in messages()) == [1] * (MAX_OPEN - 1) + [2, 51]


def test_a_message_has_room_for_so_much() -> None:
    """Then there is another one."""
    channel(group_s=60)
    for batch in range(3):
        moment = at(seconds=batch)
        tell_all([event(subject=f"upstream:{batch}-{number}", at=moment) for number in range(MAX_EVENTS // 2 + 1)])
        distribute(now=moment)
    assert [events for _, _, events in messages()] == [MAX_EVENTS, 103]
