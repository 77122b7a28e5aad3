"""Which messages are sent now, by whom, and when they are tried again.

Laws of this module:
- A message is taken by compare-and-set of `due_at`, which is moved behind the moment at which it must be over; so of
  several workers one gets it, and the message of a worker that died is due again by itself. It may then arrive twice,
  under the same id: rather twice than never.
- Of each channel one message at a time, so a channel that hangs delays no other, and messages arrive in order.
- A message is given up a day after its first attempt.
"""

import datetime
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Window
from django.db.models.functions import RowNumber

from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState

# How many are under way at once, over all workers.
MAX_IN_FLIGHT = 16
# The ten seconds of an attempt, and what it may have to wait for a thread before.
LEASE = datetime.timedelta(seconds=30)

FIRST_DELAY_S, MAX_DELAY_S = 15.0, 3600.0
GIVE_UP_AFTER = datetime.timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One message that is ours to send."""

    claim_id: uuid.UUID
    delivery_id: uuid.UUID


@transaction.atomic
def claim_due(*, now: datetime.datetime) -> list[Claim]:
    """At most one message of each channel, the longest due first. Three queries, and one for each claim."""
    # Channels of another sweep are left to it: between looking whether one is busy and making it so, nobody else looks.
    free = Channel.objects.select_for_update(skip_locked=True, no_key=True).filter(enabled=True)
    waiting = Delivery.objects.filter(
        state=DeliveryState.WAITING, channel__in=list(free.order_by("pk").values_list("pk", flat=True))
    )
    busy = set(waiting.filter(claim__isnull=False, due_at__gt=now).values_list("channel_id", flat=True))
    due = waiting.filter(due_at__lte=now).exclude(channel__in=busy)
    order = ("due_at", "created_at", "pk")
    place = Window(RowNumber(), partition_by="channel_id", order_by=order)
    firsts = due.annotate(place=place).filter(place=1).order_by(*order)[: max(0, MAX_IN_FLIGHT - len(busy))]
    return [claim for first in firsts if (claim := _claim(first, now))]


def _claim(delivery: Delivery, now: datetime.datetime) -> Claim | None:
    claim_id = uuid.uuid4()
    seen = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING, due_at=delivery.due_at)
    taken = seen.update(
        claim=claim_id,
        due_at=now + LEASE,
        attempts=delivery.attempts + 1,
        first_attempt_at=delivery.first_attempt_at or now,
    )
    return Claim(claim_id=claim_id, delivery_id=delivery.pk) if taken else None


def next_attempt(
    *,
    attempts: int,
    first_attempt_at: datetime.datetime,
    now: datetime.datetime,
    retry_after_s: float = 0.0,
    draw: Callable[[], float] = random.random,
) -> datetime.datetime | None:
    """When to try again after so many attempts; None: never.

    The delay doubles, up to an hour, of which the second half is by chance: what failed together does not come back
    together. Never before the time that the receiver asked for.
    """
    delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempts - 1, 20)) * (0.5 + draw() / 2)
    at = now + datetime.timedelta(seconds=max(delay_s, retry_after_s))
    return at if at <= first_attempt_at + GIVE_UP_AFTER else None
