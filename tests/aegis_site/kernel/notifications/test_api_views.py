"""Notifications in the HTTP API."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from aegis_site.kernel.notifications.distribution import distribute
from aegis_site.kernel.notifications.events import tell
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState
from tests.aegis_site.kernel.notifications.examples import NOW, SIGNING_SECRET, URL, channel, event
from tests.hosts.examples import make_host
from tests.support.receiver import receiver
from tests.support.roles import user_of
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def send(client: Client) -> Any:
    """Sends JSON as an administrator; the document of the answer with its status."""
    headers = bearer(token_of(user_of("administrator")))

    def send(method: str, path: str, document: Any = None) -> tuple[int, Any]:
        content = b"" if document is None else json.dumps(document).encode()
        response = client.generic(method, f"/api/v1/{path}", content, "application/json", headers=headers)
        assert b"canary" not in response.content
        return response.status_code, json.loads(response.content) if response.content else None

    return send


def test_a_channel_from_nothing_to_a_message(send: Any) -> None:
    """Address and secret are written only."""
    with receiver() as there:
        document = {
            "name": "ops",
            "kind": "webhook",
            "url": f"http://127.0.0.1:{there.port}/",
            "secret": SIGNING_SECRET,
        }
        status, made = send("POST", "notification-channels", document)
        assert (status, made["secret_set"], made["events"]) == (201, True, [])
        assert "secret" not in made
        assert "url" not in made
        path = f"notification-channels/{made['id']}"
        assert send("POST", f"{path}/test") == (
            200,
            {"success": True, "message": "The receiver has accepted the message.", "status": 204},
        )
    status, changed = send("PATCH", path, {"events": ["upstream_down"], "quiet_from": "22:00", "quiet_to": "07:00:00"})
    assert (status, changed["quiet_from"], changed["events"]) == (200, "22:00:00", ["upstream_down"])
    assert send("GET", path)[1] == changed
    assert send("GET", "notification-channels")[1]["count"] == 1
    assert send("DELETE", path)[0] == 204
    assert send("GET", path)[0] == 404


def test_errors_name_their_fields(send: Any) -> None:
    """As problem documents."""
    status, problem = send("POST", "notification-channels", {"name": "a", "kind": "slack", "url": "http://canary/"})
    assert (status, [error["field"] for error in problem["errors"]]) == (400, ["url"])
    for wrong in ({"events": ["x"]}, {"group_s": 10**30}, {"quiet_from": "25:00"}, {"name": "\0"}, {"unknown": 1}):
        assert send("PATCH", f"notification-channels/{channel(name=str(wrong)[:90]).pk}", wrong)[0] == 400


@pytest.mark.parametrize("time", ["22:00Z", "22:00:00+02:00", "22:00:00.5", "24:00", "2200", 22])
def test_a_time_of_day_has_no_offset(send: Any, time: Any) -> None:
    """It was dropped, so that quiet hours began at another time than the client had said."""
    status, problem = send("PATCH", f"notification-channels/{channel().pk}", {"quiet_from": time, "quiet_to": "07:00"})
    assert (status, [error["field"] for error in problem["errors"]]) == (400, ["quiet_from"])


def test_windows(send: Any) -> None:
    """Of hosts, or of the whole site."""
    host = make_host("orders")
    document = {"name": "move", "begins_at": "2026-05-04T12:00:00Z", "ends_at": "2026-05-04T13:00:00Z"}
    status, made = send("POST", "maintenance-windows", {**document, "hosts": [str(host.pk)]})
    assert (status, made["hosts"], made["whole_site"]) == (201, [str(host.pk)], False)
    path = f"maintenance-windows/{made['id']}"
    assert send("PATCH", path, {"whole_site": True})[0] == 400
    assert send("PATCH", path, {"whole_site": True, "hosts": []})[1]["whole_site"] is True
    assert send("PATCH", path, {"ends_at": "2026-05-04T11:00:00Z"})[0] == 400
    assert send("POST", "maintenance-windows", {**document, "hosts": [path[-36:]]})[0] == 400
    assert send("GET", "maintenance-windows")[1]["count"] == 1
    assert send("DELETE", path)[0] == 204


def test_a_window_has_so_many_hosts(send: Any, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    """With more it is refused at the field, before any of them is looked up."""
    document = {"name": "move", "begins_at": "2026-05-04T12:00:00Z", "ends_at": "2026-05-04T13:00:00Z"}
    with django_assert_max_num_queries(20):
        status, problem = send(
            "POST", "maintenance-windows", {**document, "hosts": [str(uuid.UUID(int=number)) for number in range(1001)]}
        )
    assert (status, [error["field"] for error in problem["errors"]]) == (400, ["hosts"])
    assert problem["errors"][0]["message"].startswith("At most 1000 hosts.")


def test_messages_are_read_and_sent_again(send: Any) -> None:
    """Failures are found by their state."""
    channel(url=URL)
    tell(event())
    distribute(now=NOW)
    Delivery.objects.update(state=DeliveryState.FAILED, last_error="The receiver answers 500.")
    _, listed = send("GET", "notification-deliveries?state=failed")
    [shown] = listed["results"]
    assert (shown["channel_name"], shown["last_error"]) == ("webhook", "The receiver answers 500.")
    assert [told["kind"] for told in shown["events"]] == ["upstream_down"]
    path = f"notification-deliveries/{shown['id']}"
    assert send("POST", f"{path}/retry")[1]["state"] == "waiting"
    assert send("POST", f"{path}/retry")[0] == 409
    assert send("GET", "notification-deliveries?state=x")[0] == 400
    assert Channel.objects.count() == 1
