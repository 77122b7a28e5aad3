"""The admin pages of notifications."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.notifications.distribution import distribute
from aegis_site.kernel.notifications.events import tell
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState, MaintenanceWindow
from tests.aegis_site.kernel.notifications.examples import NOW, SIGNING_SECRET, URL, channel, event
from tests.hosts.examples import make_host
from tests.support.ports import free_port
from tests.support.receiver import receiver
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db

FORM = {
    "name": "ops",
    "kind": "webhook",
    "enabled": "on",
    "new_url": URL,
    "new_secret": SIGNING_SECRET,
    "recipients": "",
    "events": ["upstream_down", "upstream_up"],
    "group_s": "30",
    "time_zone": "UTC",
    "critical_passes": "on",
}


def page(client: Client, name: str, *arguments: Any) -> str:
    response = client.get(reverse(f"admin:notifications_{name}", args=arguments))
    assert response.status_code == 200
    return response.content.decode()


def post(client: Client, name: str, /, *arguments: Any, **data: Any) -> Any:
    return client.post(reverse(f"admin:notifications_{name}", args=arguments), data)


def test_a_channel_is_added_and_changed(admin_client: Client) -> None:
    """One entry in the audit log each; its page shows neither address nor secret, and empty fields keep them."""
    assert post(admin_client, "channel_add", **FORM).status_code == 302
    stored = Channel.objects.get()
    assert stored.events == ["upstream_down", "upstream_up"]
    shown = page(admin_client, "channel_change", stored.pk)
    assert "https://hooks.example.com/…" in shown
    assert "canary" not in shown
    assert "whsec_Y" not in shown
    changed = {**FORM, "name": "on call", "new_url": "", "new_secret": ""}
    assert post(admin_client, "channel_change", stored.pk, **changed).status_code == 302
    stored.refresh_from_db()
    assert (stored.name, stored.url.reveal().decode()) == ("on call", URL)  # type: ignore[union-attr]
    entries = AuditEntry.objects.filter(target_type="notification_channel")
    assert [entry.action for entry in entries.order_by("pk")] == ["created", "changed"]
    assert "on call" in page(admin_client, "channel_changelist")
    assert "on call" in page(admin_client, "channel_history", stored.pk)


def test_errors_stand_at_their_fields(admin_client: Client) -> None:
    """And what was typed as a secret does not come back."""
    shown = post(
        admin_client, "channel_add", **{**FORM, "new_url": "ftp://canary-x", "new_secret": "canary-y"}
    ).content.decode()
    assert "Enter a URL such as" in shown
    assert "Write it as whsec_" in shown
    assert "canary" not in shown
    assert not Channel.objects.exists()


def test_a_mail_channel_has_recipients(admin_client: Client) -> None:
    """One a line."""
    form = {**FORM, "kind": "mail", "new_url": "", "new_secret": "", "recipients": "a@example.com\nb@example.com\n"}
    assert post(admin_client, "channel_add", **form).status_code == 302
    assert Channel.objects.get().recipients == ["a@example.com", "b@example.com"]


def test_a_test_message_shows_its_result(admin_client: Client) -> None:
    """By a POST; a GET shows the question and sends nothing."""
    with receiver() as there:
        stored = channel(url=f"http://127.0.0.1:{there.port}/")
        page(admin_client, "channel_send_test_message", stored.pk)
        assert there.requests == []
        post(admin_client, "channel_send_test_message", stored.pk, _form_submitted="1")
        assert len(there.requests) == 1
    assert "The test message is sent." in page(admin_client, "channel_change", stored.pk)
    failing = channel("ntfy", url=f"http://127.0.0.1:{free_port()}/t")
    post(admin_client, "channel_send_test_message", failing.pk, _form_submitted="1")
    assert "could not be sent. Nothing listens" in page(admin_client, "channel_change", failing.pk)


def test_failures_are_visible_and_can_be_sent_again(admin_client: Client) -> None:
    """In the list, at the channel, and as a number in the menu."""
    channel()
    tell(event())
    distribute(now=NOW)
    Delivery.objects.update(
        state=DeliveryState.FAILED, attempts=9, last_error="The receiver answers 500.", finished_at=NOW
    )
    Delivery.objects.update(finished_at=Delivery.objects.get().created_at)
    shown = page(admin_client, "delivery_changelist")
    assert "The receiver answers 500." in shown
    assert "Upstream a:1 of orders" in shown
    assert 'href="/admin/notifications/delivery/"' in shown
    assert "Failed" in page(admin_client, "channel_changelist")
    delivery = Delivery.objects.get()
    assert "Send again" in page(admin_client, "delivery_change", delivery.pk)
    post(admin_client, "delivery_retry", delivery.pk, _form_submitted="1")
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.WAITING
    assert "Send again" not in page(admin_client, "delivery_change", delivery.pk)
    assert "Told" in page(admin_client, "notedevent_changelist")


def test_operators_set_windows_and_see_no_channels(client: Client) -> None:
    """Channels and messages are for administrators."""
    client.force_login(user_of("operator"))
    host = make_host("orders")
    when = {"begins_at_0": "2026-05-04", "begins_at_1": "12:00", "ends_at_0": "2026-05-04", "ends_at_1": "13:00"}
    assert post(client, "maintenancewindow_add", name="move", hosts=[host.pk], **when).status_code == 302
    window = MaintenanceWindow.objects.get()
    assert [found.pk for found in window.hosts.all()] == [host.pk]
    assert "Either the whole site" in post(client, "maintenancewindow_add", name="x", **when).content.decode()
    assert post(client, "maintenancewindow_delete", window.pk, post="yes").status_code == 302
    assert not MaintenanceWindow.objects.exists()
    for name in ("channel_changelist", "delivery_changelist"):
        assert client.get(reverse(f"admin:notifications_{name}")).status_code == 403


def test_lists_take_as_many_queries_for_many(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    """Whatever their length."""
    for number in range(10):
        tell(event(subject=f"upstream:{number}", group=f"host:{number}"))
        channel(name=f"c{number}")
    distribute(now=NOW)
    for name in ("channel_changelist", "delivery_changelist", "notedevent_changelist"):
        with django_assert_max_num_queries(16):
            page(admin_client, name)


def test_an_address_that_does_not_open_is_no_obstacle(admin_client: Client) -> None:
    """Under a key that was lost: the name is changed, and whoever enters a secret is asked for the address too."""
    stored = channel()
    other = channel("slack", name="other")
    Channel.objects.filter(pk=stored.pk).update(url=other.url.blob)  # type: ignore[union-attr]
    changed = {**FORM, "new_url": "", "new_secret": ""}
    assert post(admin_client, "channel_change", stored.pk, **changed).status_code == 302
    response = post(admin_client, "channel_change", stored.pk, **{**changed, "new_secret": SIGNING_SECRET})
    assert "Enter the address again" in response.content.decode()
    assert post(admin_client, "channel_change", stored.pk, **FORM).status_code == 302
    stored.refresh_from_db()
    assert (stored.name, stored.url.reveal().decode()) == ("ops", URL)  # type: ignore[union-attr]
