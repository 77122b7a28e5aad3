"""Questions about notifications."""

import datetime

from django.db.models import Q

from aegis_site.kernel.notifications.models import Delivery, DeliveryState

# What was given up longer ago is in the list, and no alarm any more.
RECENT = datetime.timedelta(days=7)


def undelivered(*, now: datetime.datetime) -> int:
    """How many messages were given up lately, or wait after a failed attempt. One query."""
    failing = Q(state=DeliveryState.WAITING, attempts__gt=0) & ~Q(last_error="")
    given_up = Q(state=DeliveryState.FAILED, finished_at__gte=now - RECENT)
    return Delivery.objects.filter(failing | given_up).count()
