"""services: what people change of notifications."""

import datetime
import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState, MaintenanceWindow
from aegis_site.kernel.notifications.services import (
    NotFailed,
    delete_channels,
    delete_windows,
    retry_delivery,
    save_channel,
    save_window,
    send_test,
)
from tests.aegis_site.kernel.notifications.examples import NOW, SIGNING_SECRET, URL, at, channel
from tests.hosts.examples import make_host
from tests.support.receiver import receiver

pytestmark = pytest.mark.django_db


def refused(row: Channel | None = None, **values: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        save_channel(channel=row or Channel(), values=values, user=None)
    return error.value.message_dict


def test_a_channel_is_stored_sealed() -> None:
    """What it shows is the host; of address and secret the audit log has masks."""
    stored = channel(name="ops")
    assert stored.destination == "https://hooks.example.com/…"
    stored.refresh_from_db()
    assert (stored.url.reveal().decode(), stored.secret.reveal().decode()) == (URL, SIGNING_SECRET)  # type: ignore[union-attr]
    save_channel(channel=stored, values={"url": URL + "2"}, user=None)
    entries = AuditEntry.objects.filter(target_type="notification_channel").order_by("pk")
    assert [entry.action for entry in entries] == ["created", "changed"]
    assert [change["field"] for change in entries[1].changes] == ["url"]
    text = json.dumps([entry.changes for entry in entries])
    assert "canary" not in text
    assert "whsec" not in text


def test_all_errors_come_at_once() -> None:
    """Keyed by column."""
    found = refused(
        name="", kind="webhook", url="x", secret="short", events=["x"], group_s=-1, quiet_from=datetime.time(1)
    )
    assert found.keys() == {"name", "events", "group_s", "quiet_to", "secret", "url"}
    assert refused(name="a", kind="pager").keys() == {"kind"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "mail", "url": "https://a/"}, "url"),
        ({"kind": "mail", "recipients": ["x"]}, "recipients"),
        ({"kind": "slack", "url": "http://a/"}, "url"),
        ({"kind": "slack", "url": "https://a/", "secret": "x"}, "secret"),
        ({"kind": "slack", "url": "https://a/", "recipients": ["a@example.com"]}, "recipients"),
        ({"kind": "slack"}, "url"),
        ({"kind": "webhook", "url": "https://a/"}, "secret"),
        ({"kind": "ntfy", "url": "https://a/"}, "url"),
        ({"kind": "ntfy", "url": "http://a/topic", "secret": "tk_x"}, "url"),
        ({"kind": "discord", "url": "https://a/", "time_zone": "Mars"}, "time_zone"),
    ],
)
def test_what_does_not_fit_its_kind(values: dict[str, Any], field: str) -> None:
    """Is refused where it stands."""
    assert refused(name="a", **values).keys() == {field}


def test_a_token_stays_with_its_address() -> None:
    """Another address needs it again; a token needs TLS, also when it comes later."""
    stored = channel("ntfy", secret="tk_canary")
    assert refused(stored, url="https://elsewhere.example/topic").keys() == {"secret"}
    save_channel(channel=stored, values={"url": "https://elsewhere.example/topic", "secret": "tk_new"}, user=None)
    plain = channel("ntfy", name="plain", url="http://a/topic")
    assert refused(plain, secret="tk_x").keys() == {"url"}
    save_channel(channel=stored, values={"secret": ""}, user=None)
    stored.refresh_from_db()
    assert stored.secret is None


def test_the_kind_stays() -> None:
    """The secret was for that kind."""
    assert refused(channel(), kind="slack").keys() == {"kind"}


def test_a_change_keeps_what_it_does_not_name() -> None:
    """Address and secret too."""
    stored = channel()
    save_channel(channel=stored, values={"group_s": 5}, user=None)
    stored.refresh_from_db()
    assert (stored.group_s, stored.url.reveal().decode()) == (5, URL)  # type: ignore[union-attr]


def test_deleting_is_recorded() -> None:
    """And takes the messages with it."""
    stored = channel()
    Delivery.objects.create(channel=stored, group="g", due_at=NOW)
    delete_channels(ids=[stored.pk], user=None)
    assert not Delivery.objects.exists()
    assert AuditEntry.objects.latest("pk").action == "deleted"


def test_a_window_is_for_the_site_or_for_hosts() -> None:
    """Neither and both are refused; each change is recorded."""
    host = make_host("orders")
    values: dict[str, Any] = {"name": "move", "begins_at": NOW, "ends_at": at(hours=1)}
    for wrong in ({}, {"whole_site": True, "hosts": [host]}, {"whole_site": True, "ends_at": NOW}):
        with pytest.raises(ValidationError):
            save_window(window=MaintenanceWindow(), values={**values, **wrong}, user=None)
    window = save_window(window=MaintenanceWindow(), values={**values, "hosts": [host]}, user=None)
    save_window(window=window, values={"name": "later"}, user=None)
    assert [found.pk for found in window.hosts.all()] == [host.pk]
    delete_windows(ids=[window.pk], user=None)
    actions = AuditEntry.objects.filter(target_type="maintenance_window").order_by("pk")
    assert [entry.action for entry in actions] == ["created", "changed", "deleted"]


def test_a_window_of_a_deleted_host_does_not_become_that_of_all() -> None:
    """It mutes nothing any more."""
    host = make_host("orders")
    values = {"name": "move", "begins_at": NOW, "ends_at": at(hours=1), "hosts": [host]}
    window = save_window(window=MaintenanceWindow(), values=values, user=None)
    host.delete()
    window.refresh_from_db()
    assert (window.whole_site, window.hosts.count()) == (False, 0)


def test_what_was_given_up_is_sent_again() -> None:
    """For another day, and it is recorded; what was not given up is left alone."""
    delivery = Delivery.objects.create(
        channel=channel(), group="g", due_at=NOW, state=DeliveryState.FAILED, attempts=40, first_attempt_at=NOW
    )
    again = retry_delivery(delivery=delivery, user=None)
    assert (again.state, again.first_attempt_at) == (DeliveryState.WAITING, None)
    assert AuditEntry.objects.latest("pk").action == "retried"
    with pytest.raises(NotFailed):
        retry_delivery(delivery=delivery, user=None)


def test_a_test_message() -> None:
    """Goes out at once, by a channel that is off too, and leaves nothing behind."""
    with receiver() as there:
        result = send_test(channel(url=f"http://127.0.0.1:{there.port}/", enabled=False))
    assert (result.success, Delivery.objects.exists()) == (True, False)
    assert json.loads(there.requests[0].body)["data"]["title"] == "Test message of Aegis"


def test_a_secret_that_does_not_open_is_said() -> None:
    """The key of the installation was changed."""
    stored = channel()
    blob = stored.secret.blob  # type: ignore[union-attr]
    Channel.objects.filter(pk=stored.pk).update(secret=blob[:-1] + bytes([blob[-1] ^ 1]))
    found = Channel.objects.get()
    assert isinstance(found.secret, Sealed)
    assert "does not open" in send_test(found).message
