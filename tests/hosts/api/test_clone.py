"""A copy of a host, asked for by HTTP."""

from typing import Any

import pytest
from django.test import Client

from hosts.models import Host
from tests.hosts.examples import LEAF
from tests.hosts.exchange.examples import make_secretive_host

pytestmark = pytest.mark.django_db


def clone(client: Client, host: Host, body: dict[str, Any]) -> Any:
    return client.post(f"/api/v1/hosts/{host.pk}/clone", body, "application/json")


def test_a_copy_answers_like_a_new_host(admin_client: Client) -> None:
    """201 with the representation, its address and its ETag; without secrets unless they are asked for."""
    host = make_secretive_host(tags=("prod",))
    response = clone(admin_client, host, {"domains": ["copy.example.com"]})
    assert response.status_code == 201, response.content
    shown = response.json()
    again = admin_client.get(response["Location"])
    assert (again.json(), again["ETag"]) == (shown, response["ETag"])
    assert (shown["name"], shown["enabled"], shown["tags"]) == ("Copy of orders", False, ["prod"])
    assert (shown["upstream_tls"]["client_key_set"], shown["downstream_tls"]["key_set"]) == (False, False)
    body = {"name": "twin", "domains": ["twin.example.com"], "with_secrets": True}
    response = clone(admin_client, host, body)
    assert response.json()["upstream_tls"]["client_key_set"]
    assert LEAF.key_pem.splitlines()[1] not in response.content.decode()


def test_errors_name_their_fields(admin_client: Client) -> None:
    """All at once, and nothing is made."""
    host = make_secretive_host()
    response = clone(admin_client, host, {"name": "orders", "domains": ["orders.example.com"]})
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {"name", "domains"}
    assert clone(admin_client, host, {"domains": ["a.example"], "enabled": True}).status_code == 400
    assert clone(admin_client, host, {}).status_code == 400
    assert Host.objects.count() == 1
