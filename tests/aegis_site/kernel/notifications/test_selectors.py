"""selectors: what the badge counts."""

import pytest

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
