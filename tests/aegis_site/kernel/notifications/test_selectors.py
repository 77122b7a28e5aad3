"""selectors: what the badge counts."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.notifications.models import Delivery
from aegis_site.kernel.notifications.selectors import undelivered
from tests.aegis_site.kernel.notifications.examples import NOW, at, channel

pytestmark = pytest.mark.django_db


def test_what_cannot_be_delivered_counts() -> None:
    """Given up within a week, or waiting after a failure."""
    owner = channel()

    def add(**columns: object) -> None:
        Delivery.objects.create(channel=owner, group="g", due_at=NOW, **columns)

    add(state="failed", finished_at=NOW)
    add(state="waiting", attempts=2, last_error="refused")
    add(state="failed", finished_at=at(days=-8))
    add(state="waiting")
    add(state="waiting", attempts=1)
    add(state="delivered", attempts=3)
    assert undelivered(now=NOW) == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the words are those of SQLite's EXPLAIN")
def test_messages_that_arrived_are_not_looked_at() -> None:
    """They are all of a month, and the badge is on every page."""
    with CaptureQueriesContext(connection) as queries:
        undelivered(now=NOW)
    [query] = queries
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
        steps = [step for *_, step in cursor.fetchall() if Delivery._meta.db_table in step]
    assert ["notifications_delivery_due" in steps[0], "notifications_delivery_failed" in steps[1]] == [True, True]
    assert len(steps) == 2
