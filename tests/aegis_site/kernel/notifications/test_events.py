"""events: what is news, and what is not."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.notifications.events import EventKind, settle, tell, tell_all
from aegis_site.kernel.notifications.models import Incident, NotedEvent
from tests.aegis_site.kernel.notifications.examples import NOW, at, event

pytestmark = pytest.mark.django_db

DOWN, UP = EventKind.UPSTREAM_DOWN, EventKind.UPSTREAM_UP


def kinds() -> list[str]:
    return list(NotedEvent.objects.order_by("pk").values_list("kind", flat=True))


def test_what_lasts_is_noted_once() -> None:
    """Until it ends; of another subject it is another event."""
    tell(event())
    tell(event(at=at(hours=1)))
    tell(event(subject="upstream:2", at=at(hours=1)))
    assert kinds() == [DOWN, DOWN]


def test_an_end_says_when_it_began() -> None:
    """And after it, the next beginning is news."""
    tell_all([event(), event(UP, at=at(minutes=4)), event(at=at(minutes=30))])
    assert kinds() == [DOWN, UP, DOWN]
    assert NotedEvent.objects.get(kind=UP).since == NOW


def test_the_end_of_nothing_is_no_news() -> None:
    """An upstream that is healthy for the first time, or still, is not told."""
    tell(event(UP))
    tell_all([event(), event(UP, at=at(minutes=1)), event(UP, at=at(minutes=2))])
    assert kinds() == [DOWN, UP]


def test_what_still_lasts_after_a_day_is_news_again() -> None:
    """And an expiry never is: its subject names the days that are left."""
    for hours in (0, 23, 25):
        tell(event(at=at(hours=hours)))
        tell(event(EventKind.CERTIFICATE_EXPIRY, subject="certificate:1", at=at(hours=hours)))
        tell(event(EventKind.ROTATION, subject="certificate:1", at=at(hours=hours)))
    assert [kinds().count(kind) for kind in (DOWN, "certificate_expiry", "rotation")] == [2, 1, 3]


def test_what_comes_and_goes_flaps_from_the_fourth_time() -> None:
    """Its end too; after ten minutes of peace it is as new."""
    for minute in range(5):
        tell_all([event(at=at(minutes=minute)), event(UP, at=at(minutes=minute, seconds=30))])
    assert list(NotedEvent.objects.order_by("pk").values_list("is_flapping", flat=True)) == [False] * 6 + [True] * 4
    tell(event(at=at(minutes=20)))
    assert not NotedEvent.objects.latest("pk").is_flapping


def test_an_event_goes_with_its_transaction() -> None:
    """What is rolled back was never told, and is news the next time."""
    with transaction.atomic():
        tell(event())
        transaction.set_rollback(True)
    assert not Incident.objects.exists()
    tell(event())
    assert kinds() == [DOWN]


def test_settling_ends_in_silence() -> None:
    """What was deleted is told no more, and its return is news."""
    tell_all([event(), event(subject="upstream:2")])
    settle(DOWN, lasting=["upstream:2"])
    tell_all([event(UP, at=at(minutes=1)), event(at=at(minutes=2)), event(subject="upstream:2", at=at(minutes=2))])
    assert kinds() == [DOWN, DOWN, DOWN]


def test_texts_fit_their_columns() -> None:
    """A certificate may name anything."""
    tell(event(title="a\0b\n" + "x" * 300, text="y" * 2000, details={"Subject": "\ud800" + "z" * 500}))
    row = NotedEvent.objects.get()
    assert row.title.startswith("a b x")
    assert (len(row.title), len(row.text), len(row.details["Subject"])) == (255, 1000, 300)


def test_many_events_take_few_queries() -> None:
    """A whole rack goes down at once; rows are updated in batches."""
    counts = []
    for number in (2, 100):
        with CaptureQueriesContext(connection) as queries:
            tell_all([event(subject=f"upstream:{number}:{index}") for index in range(number)])
        counts.append(len(queries))
    assert counts[1] <= counts[0] + 1 <= 8


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    """What was told in a future that does not come yet is news, and does not flap for it."""
    failure = EventKind.TLS_FAILURE
    tell_all([event(failure, at=at(days=400)), event(at=at(days=400)), event(UP, at=at(days=400, minutes=1))])
    tell_all([event(failure), event()])
    assert kinds() == [failure, DOWN, UP, failure, DOWN]
    assert list(Incident.objects.values_list("openings", flat=True)) == [1, 1]
