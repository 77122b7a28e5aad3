"""From what was noted to messages that are due: who hears of it, when, and together with what.

Laws of this module:
- An event is distributed once, in one transaction with its deliveries.
- What a maintenance window covers at the moment of the event is noted as muted. If it outlasts the window, it is told
  after it; what lasts is told again every day.
- Events of a group join the message that waits for them, as long as nobody has tried to send that.
- A channel is not flooded: when MAX_OPEN messages wait for their first attempt, what else happens is told together,
  whatever its group, up to MAX_EVENTS in one message.
"""

import datetime
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Q

from aegis_site.kernel.notifications.events import FLAP_WINDOW, host_group
from aegis_site.kernel.notifications.kinds import CRITICAL, ENDS, LASTING, REMIND_AFTER, EventKind
from aegis_site.kernel.notifications.models import (
    Channel,
    Delivery,
    DeliveryState,
    Incident,
    MaintenanceWindow,
    NotedEvent,
    Outcome,
)
from aegis_site.kernel.notifications.quiet import end_of_quiet

EVENTS_AT_ONCE = 500
# The group of what is told together in the morning.
MORNING = "morning"
# The group of what is told together because too much happens.
MANY = "many"
# A channel sends one message in each sweep, so these take a minute.
MAX_OPEN = 10
MAX_EVENTS = 200

# An expiry does not pass with a window; a failure that ended during it does.
_OUTLASTING = (*LASTING, EventKind.CERTIFICATE_EXPIRY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    begins_at: datetime.datetime
    ends_at: datetime.datetime
    whole_site: bool
    groups: frozenset[str]

    def covers(self, group: str, at: datetime.datetime) -> bool:
        return self.begins_at <= at < self.ends_at and (self.whole_site or group in self.groups)


@transaction.atomic
def remind(*, now: datetime.datetime) -> int:
    """Notes again what lasts for long, or has outlasted its maintenance. How many. One query, mostly."""
    is_due = Q(kind__in=list(ENDS.values()), told_at__lte=now - REMIND_AFTER) | Q(kind__in=_OUTLASTING, is_muted=True)
    lasting = Incident.objects.filter(is_due, ended_at=None, event__isnull=False).order_by("pk")
    # Looked through to the end: what maintenance covers, however much, does not hide what comes after it.
    groups = list(lasting.values_list("pk", "event__group"))
    windows = _windows(now, now) if groups else []
    due = [pk for pk, group in groups if not _is_covered(windows, group, now)][:EVENTS_AT_ONCE]
    if not due:
        return 0
    locked = lasting.select_for_update(of=("self",), skip_locked=True).filter(pk__in=due)
    incidents = list(locked.select_related("event"))
    for incident in incidents:
        event = _event_of(incident)
        event.pk, event.at, event.since, event.outcome = None, now, incident.began_at, Outcome.PENDING
        event.is_flapping = False
    NotedEvent.objects.bulk_create([_event_of(incident) for incident in incidents])
    for incident in incidents:
        incident.event, incident.told_at, incident.is_muted = _event_of(incident), now, False
    Incident.objects.bulk_update(incidents, ["told_at", "is_muted", "event"])
    return len(incidents)


@transaction.atomic
def distribute(*, now: datetime.datetime) -> int:
    """Decides who hears of what was noted. How many events there were. One query when there were none."""
    pending = NotedEvent.objects.select_for_update(skip_locked=True).filter(outcome=Outcome.PENDING)
    events = list(pending.order_by("pk")[:EVENTS_AT_ONCE])
    if not events:
        return 0
    windows = _windows(min(event.at for event in events), max(event.at for event in events))
    muted = [event for event in events if _is_covered(windows, event.group, event.at)]
    _mute(muted)
    heard = [event for event in events if event.outcome != Outcome.MUTED]
    _Desk(now).deliver(heard)
    NotedEvent.objects.bulk_update(events, ["outcome"])
    return len(events)


class _Desk:
    """Puts events into the messages that wait, or into new ones."""

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now
        self._channels = list(Channel.objects.filter(enabled=True).defer("url", "secret"))
        # Locked: whoever takes one to send it waits for us, and whoever took one first has made an attempt.
        locked = Delivery.objects.select_for_update().filter(state=DeliveryState.WAITING, attempts=0, claim=None)
        waiting = list(locked.order_by("-due_at", "pk"))
        self._sizes = _sizes(waiting)
        self._open = {(row.channel_id, row.group): row for row in waiting if self._sizes[row.pk] < MAX_EVENTS}
        self._open_counts = Counter(row.channel_id for row in waiting)
        self._new: list[Delivery] = []
        self._hastened: list[Delivery] = []
        self._pairs: list[tuple[uuid.UUID, int]] = []

    def deliver(self, events: Iterable[NotedEvent]) -> None:
        for event in events:
            wanting = [channel for channel in self._channels if channel.wants(event.kind)]
            event.outcome = Outcome.TOLD if wanting else Outcome.UNHEARD
            for channel in wanting:
                delivery = self._delivery(channel, event)
                self._pairs.append((delivery.pk, event.pk))
                self._sizes[delivery.pk] += 1
        Delivery.objects.bulk_create(self._new)
        Delivery.objects.bulk_update(self._hastened, ["due_at"])
        through = Delivery.events.through
        through._default_manager.bulk_create(
            [through(delivery_id=delivery, notedevent_id=event) for delivery, event in self._pairs]
        )

    def _delivery(self, channel: Channel, event: NotedEvent) -> Delivery:
        group, due_at = _when(channel, event, self._now)
        delivery = self._joinable(channel, group)
        if delivery is None and group != MORNING and self._open_counts[channel.pk] >= MAX_OPEN:
            group = MANY
            delivery = self._joinable(channel, group)
        if delivery is None:
            delivery = Delivery(channel=channel, group=group, due_at=due_at)
            self._open[(channel.pk, group)] = delivery
            self._open_counts[channel.pk] += 1
            self._new.append(delivery)
        elif due_at < delivery.due_at:
            # What may wait is no reason to put off what may not.
            delivery.due_at = due_at
            self._hastened.append(delivery)
        return delivery

    def _joinable(self, channel: Channel, group: str) -> Delivery | None:
        delivery = self._open.get((channel.pk, group))
        return delivery if delivery is not None and self._sizes[delivery.pk] < MAX_EVENTS else None


def _sizes(deliveries: Sequence[Delivery]) -> Counter[uuid.UUID]:
    """How many events each has. No query for none."""
    pairs = Delivery.events.through._default_manager.filter(delivery__in=[row.pk for row in deliveries])
    return Counter(dict(pairs.values_list("delivery").annotate(Count("pk")).order_by()))


def _when(channel: Channel, event: NotedEvent, now: datetime.datetime) -> tuple[str, datetime.datetime]:
    """With what an event is told, and when."""
    wait = datetime.timedelta(seconds=channel.group_s)
    due_at = now + (max(wait, FLAP_WINDOW) if event.is_flapping else wait)
    if channel.critical_passes and event.kind in CRITICAL:
        return event.group, due_at
    morning = end_of_quiet(due_at, begins=channel.quiet_from, ends=channel.quiet_to, zone=channel.zone)
    return (event.group, due_at) if morning is None else (MORNING, morning)


def _windows(since: datetime.datetime, until: datetime.datetime) -> Sequence[_Window]:
    """Those that cover a part of this time. Two queries."""
    rows = MaintenanceWindow.objects.filter(begins_at__lte=until, ends_at__gt=since).prefetch_related("hosts")
    return [
        _Window(
            begins_at=row.begins_at,
            ends_at=row.ends_at,
            whole_site=row.whole_site,
            groups=frozenset(host_group(host.pk) for host in row.hosts.all()),
        )
        for row in rows
    ]


def _is_covered(windows: Iterable[_Window], group: str, at: datetime.datetime) -> bool:
    return any(window.covers(group, at) for window in windows)


def _mute(events: Sequence[NotedEvent]) -> None:
    if not events:
        return
    for event in events:
        event.outcome = Outcome.MUTED
    # Locked in order, as `tell` does it, so that neither waits for the other for good.
    lasting = Incident.objects.select_for_update().filter(event__in=events, ended_at=None).order_by("pk")
    Incident.objects.filter(pk__in=list(lasting.values_list("pk", flat=True))).update(is_muted=True)


def _event_of(incident: Incident) -> NotedEvent:
    if incident.event is None:  # the query leaves those out
        raise ValueError(f"{incident} has no event")
    return incident.event
