"""Questions about notifications."""

import datetime

from aegis_site.kernel.notifications.models import Delivery, DeliveryState

# What was given up longer ago is in the list, and no alarm any more.
RECENT = datetime.timedelta(days=7)


def undelivered(*, now: datetime.datetime) -> int:
    """How many messages were given up lately, or wait after a failed attempt. One query."""
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    failing = waiting.filter(attempts__gt=0).exclude(last_error="")
    given_up = Delivery.objects.filter(state=DeliveryState.FAILED, finished_at__gte=now - RECENT)
    # Two parts, for each of which there is an index: the other messages of a month are not looked at.
    parts = [rows.order_by().values("pk") for rows in (failing, given_up)]
    return parts[0].union(parts[1], all=True).count()
