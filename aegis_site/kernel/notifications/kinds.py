"""What somebody may want to be told of, and how each kind is told.

Laws of this module: plain facts about kinds; no row, no clock.
"""

import datetime

from django.db import models


class EventKind(models.TextChoices):
    """The events of the product."""

    UPSTREAM_DOWN = "upstream_down", "Upstream down"
    UPSTREAM_UP = "upstream_up", "Upstream up again"
    HOST_WITHOUT_UPSTREAM = "host_without_upstream", "Host without a healthy upstream"
    HOST_SERVED_AGAIN = "host_served_again", "Host served again"
    TLS_FAILURE = "tls_failure", "TLS failure to an upstream"
    CERTIFICATE_EXPIRY = "certificate_expiry", "Certificate expires"
    ROTATION = "rotation", "Rotation of a certificate"
    ROTATION_FAILED = "rotation_failed", "Rotation of a certificate failed"
    WORKER_LOST = "worker_lost", "Proxy worker lost"
    WORKER_BACK = "worker_back", "Proxy worker back"
    CONFIGURATION_REJECTED = "configuration_rejected", "Configuration of a host rejected"


class Severity(models.TextChoices):
    """How bad it is."""

    CRITICAL = "critical", "Critical"
    WARNING = "warning", "Warning"
    GOOD = "good", "Good"


# What ends what: such an end is news only to who was told of the beginning.
ENDS = {
    EventKind.UPSTREAM_UP: EventKind.UPSTREAM_DOWN,
    EventKind.HOST_SERVED_AGAIN: EventKind.HOST_WITHOUT_UPSTREAM,
    EventKind.WORKER_BACK: EventKind.WORKER_LOST,
}

# What goes on until it ends: told again after REMIND_AFTER, and after a maintenance window that it outlasts.
LASTING = frozenset((*ENDS.values(), EventKind.CONFIGURATION_REJECTED))

# Clients notice, so somebody is woken up; and told when it is over, for they are awake.
CRITICAL = frozenset(
    (EventKind.HOST_WITHOUT_UPSTREAM, EventKind.HOST_SERVED_AGAIN, EventKind.WORKER_LOST, EventKind.WORKER_BACK)
)

REMIND_AFTER = datetime.timedelta(hours=24)

_ALWAYS_NEWS = frozenset((EventKind.ROTATION,))
# Their subject names the number of days that are left, so each is told once.
_TOLD_ONCE = frozenset((EventKind.CERTIFICATE_EXPIRY,))


def quiet_time(kind: EventKind) -> datetime.timedelta:
    """For how long the same kind of event for the same subject is no news, unless it ended meanwhile."""
    if kind in _TOLD_ONCE:
        return datetime.timedelta.max
    return datetime.timedelta.min if kind in _ALWAYS_NEWS else REMIND_AFTER


def severity_of(kind: EventKind) -> Severity:
    """For colours and priorities."""
    if kind in ENDS or kind is EventKind.ROTATION:
        return Severity.GOOD
    return Severity.CRITICAL if kind in CRITICAL else Severity.WARNING
