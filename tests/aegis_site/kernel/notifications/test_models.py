"""models: what the database itself refuses."""

import pytest
from django.db import IntegrityError

from aegis_site.kernel.notifications.models import Channel, MaintenanceWindow
from tests.aegis_site.kernel.notifications.examples import NOW, channel

pytestmark = pytest.mark.django_db


def test_a_chat_has_an_address() -> None:
    """And mail has none."""
    with pytest.raises(IntegrityError):
        Channel.objects.create(name="a", kind="slack")


def test_a_window_ends_after_it_begins() -> None:
    """Otherwise it would be none."""
    with pytest.raises(IntegrityError):
        MaintenanceWindow.objects.create(name="a", begins_at=NOW, ends_at=NOW)


def test_what_a_channel_wants() -> None:
    """All kinds, unless it names some."""
    assert channel().wants("rotation")
    assert not channel("slack", events=["upstream_down"]).wants("rotation")
    assert str(channel("ntfy", time_zone="Europe/Berlin").zone) == "Europe/Berlin"
