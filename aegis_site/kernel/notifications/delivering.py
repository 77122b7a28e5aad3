"""A claimed message, from its events to what became of it.

Laws of this module: the result counts only for who still has the claim. A message that was sent by a worker that died
before it wrote so down is sent again, under the same id.
"""

import datetime
import logging
import uuid
from collections.abc import Callable

from django.utils import timezone

from aegis_site.kernel.notifications.claims import next_attempt
from aegis_site.kernel.notifications.composing import compose
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState
from aegis_site.kernel.notifications.sending import Message, Result, send
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import current_settings

logger = logging.getLogger(__name__)


def deliver(
    *, delivery_id: uuid.UUID, claim_id: uuid.UUID, clock: Callable[[], datetime.datetime] = timezone.now
) -> Result | None:
    """One attempt. None when the claim is not ours any more: it took too long to get here, or somebody deleted it."""
    delivery = Delivery.objects.select_related("channel").filter(pk=delivery_id, claim=claim_id).first()
    now = clock()
    if delivery is None or delivery.due_at <= now:
        return None
    settings = current_settings()
    events = list(delivery.events.order_by("at", "pk"))
    if events:
        note = compose(events, public_url=settings.public_url)
        message = Message(message_id=f"msg_{delivery.pk.hex}", note=note, events=events)
        result = _sent(delivery.channel, message, settings, now)
    else:
        result = Result(success=False, message="Its events were forgotten meanwhile.", is_final=True)
    _write_down(delivery, claim_id, result, clock())
    return result


def _sent(channel: Channel, message: Message, settings: SiteSettings, now: datetime.datetime) -> Result:
    try:
        return send(channel, message, settings=settings, now=now)
    except Exception as error:  # noqa: BLE001 (a loop without end is worse)
        # Our mistake, whatever it is. Raised, it would leave a message that is tried for ever. Its text may hold the
        # address.
        logger.error("notification to %s: %s in %s", channel, type(error).__name__, send.__module__)
        return Result(success=False, message=f"Aegis could not make or send the message: {type(error).__name__}.")


def _write_down(delivery: Delivery, claim_id: uuid.UUID, result: Result, now: datetime.datetime) -> None:
    again = None
    if not result.success and not result.is_final:
        again = next_attempt(
            attempts=delivery.attempts,
            first_attempt_at=delivery.first_attempt_at or now,
            now=now,
            retry_after_s=result.retry_after_s,
        )
    state = DeliveryState.WAITING if again else DeliveryState.FAILED
    if result.success:
        state = DeliveryState.DELIVERED
    Delivery.objects.filter(pk=delivery.pk, claim=claim_id).update(
        state=state,
        claim=None,
        due_at=again or now,
        finished_at=None if again else now,
        status=result.status,
        last_error="" if result.success else result.message,
    )
    if not result.success:
        ends = "it is given up" if again is None else f"again at {again:%H:%M:%S} UTC"
        # The message says what the page shows, which has no secret.
        logger.warning("notification %s to %s: %s %s", delivery.pk, delivery.channel, result.message, ends)
