"""Channels and maintenance windows in the audit log.

Laws of this module: of an address and a secret there is a mask, another for another value.
"""

import uuid
from collections.abc import Collection

from aegis_site.kernel.audit.recording import Described, Kind
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.masking import masked
from aegis_site.kernel.notifications.models import Channel, MaintenanceWindow

PLAIN_COLUMNS = ("name", "kind", "enabled", "recipients", "events", "group_s", "time_zone", "critical_passes")


def _read_channels(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Described]:
    """One query."""
    return {
        key: Described(name=channel.name, document=_channel(channel))
        for key, channel in Channel.objects.in_bulk(list(ids)).items()
    }


def _channel(channel: Channel) -> dict[str, object]:
    return {
        **{name: getattr(channel, name) for name in PLAIN_COLUMNS},
        "quiet_from": channel.quiet_from.isoformat() if channel.quiet_from else None,
        "quiet_to": channel.quiet_to.isoformat() if channel.quiet_to else None,
        "destination": channel.destination,
        "url": _masked(channel.url),
        "secret": _masked(channel.secret),
    }


def _masked(secret: Sealed | None) -> str:
    if secret is None:
        return ""
    try:
        return masked(secret.reveal().decode())
    except SecretUnreadable:
        return "unreadable"


def _read_windows(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Described]:
    """Two queries."""
    windows = MaintenanceWindow.objects.prefetch_related("hosts").in_bulk(list(ids))
    return {key: Described(name=window.name, document=_window(window)) for key, window in windows.items()}


def _window(window: MaintenanceWindow) -> dict[str, object]:
    return {
        "name": window.name,
        "begins_at": window.begins_at.isoformat(),
        "ends_at": window.ends_at.isoformat(),
        "whole_site": window.whole_site,
        "hosts": sorted(str(host.pk) for host in window.hosts.all()),
    }


CHANNELS = Kind(target_type="notification_channel", read=_read_channels)
WINDOWS = Kind(target_type="maintenance_window", read=_read_windows)
DELIVERY_TYPE = "notification_delivery"
