"""Events, channels and a clock, for the tests of notifications."""

import base64
import datetime
import uuid
from typing import Any

from aegis_site.kernel.notifications.events import Event, EventKind
from aegis_site.kernel.notifications.models import Channel, NotedEvent
from aegis_site.kernel.notifications.services import save_channel

NOW = datetime.datetime(2026, 5, 4, 12, 0, tzinfo=datetime.UTC)
HOST = uuid.UUID(int=7)

KEY = b"canary-signing-key-32-bytes-long"
SIGNING_SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
URL = "https://hooks.example.com/services/canary-path-93af?token=canary-token-11"


def at(**later: float) -> datetime.datetime:
    """So much after NOW."""
    return NOW + datetime.timedelta(**later)


def event(kind: EventKind = EventKind.UPSTREAM_DOWN, **changes: Any) -> Event:
    """An upstream of HOST went down."""
    values: dict[str, Any] = {
        "kind": kind,
        "subject": "upstream:1",
        "group": f"host:{HOST}",
        "title": f"Upstream a:1 of orders: {kind.label}",
        "at": NOW,
        "path": "/admin/hosts/host/1/change/",
    }
    return Event(**{**values, **changes})


def noted(kind: EventKind = EventKind.UPSTREAM_DOWN, **changes: Any) -> NotedEvent:
    """An event as a row that is not saved."""
    values = {"subject": "upstream:1", "group": f"host:{HOST}", "title": "Upstream a:1 is down", "at": NOW}
    return NotedEvent(kind=kind, **{**values, **changes})


def channel(kind: str = "webhook", **values: Any) -> Channel:
    """A stored channel that is told at once."""
    usual: dict[str, Any] = {"name": kind, "kind": kind, "group_s": 0}
    if kind != "mail":
        usual["url"] = URL if kind != "ntfy" else "https://ntfy.example.com/canary-topic-5b"
    if kind == "webhook":
        usual["secret"] = SIGNING_SECRET
    return save_channel(channel=Channel(), values={**usual, **values}, user=None)
