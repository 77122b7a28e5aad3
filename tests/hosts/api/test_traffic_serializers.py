"""From the traffic part of a document to a spec."""

import json
from dataclasses import asdict, fields
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from hosts.api.serializers import HostSerializer
from hosts.api.traffic_serializers import HeaderRuleSerializer, traffic_of
from hosts.specs import HeaderRuleSpec
from hosts.traffic import SECTIONS
from tests.hosts.examples import make_host


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_the_snapshot_can_be_written(section: str) -> None:
    """A field that the workers know and the API does not would be forgotten here: this fails first."""
    serializer = HostSerializer().fields[section]
    assert list(serializer.fields) == [field.name for field in fields(SECTIONS[section])]


def test_every_part_of_a_rule_can_be_written() -> None:
    """As above."""
    writable = {name for name, field in HeaderRuleSerializer().fields.items() if not field.read_only}
    assert writable == {field.name for field in fields(HeaderRuleSpec)}


def test_a_whole_document_has_the_defaults_and_a_part_has_none() -> None:
    """What is absent means the default of the snapshot, or stays."""
    document = {"timeouts": {"connect_s": 1.0}, "request_headers": [{"action": "remove", "name": "Cookie"}]}
    whole = traffic_of(document, is_whole=True)
    assert whole["timeouts"] == asdict(SECTIONS["timeouts"]()) | {"connect_s": 1.0}
    assert whole["retries"] == asdict(SECTIONS["retries"]())
    assert whole["request_headers"] == (HeaderRuleSpec(action="remove", name="Cookie"),)
    assert whole["response_headers"] == ()
    part = traffic_of(document, is_whole=False)
    assert (part["timeouts"], part["retries"]) == ({"connect_s": 1.0}, {})
    assert "response_headers" not in part


@pytest.mark.django_db
def test_secret_values_are_written_only(admin_client: Client) -> None:
    """A document that was read can be sent back: what it does not say is kept, and shown by no answer."""
    secret = {"action": "set", "name": "Authorization", "value": "Bearer canary"}
    plain = {"action": "set", "name": "X-Team", "value": "orders"}
    marked = {"action": "set", "name": "X-Floor", "value": "canary", "sensitive": True}
    url = reverse("api-host-detail", args=[make_host().pk])

    def patched(status: int, *rules: dict[str, Any]) -> Any:
        body = json.dumps({"request_headers": rules})
        answer = admin_client.patch(url, body, content_type="application/json")
        assert answer.status_code == status, answer.content
        assert b"canary" not in answer.content
        return answer.json()

    shown = patched(200, secret, plain, marked)["request_headers"]
    assert shown == [
        {"action": "set", "name": "Authorization", "sensitive": True, "value_set": True},
        {"action": "set", "name": "X-Team", "value": "orders", "sensitive": False, "value_set": True},
        {"action": "set", "name": "X-Floor", "sensitive": True, "value_set": True},
    ]
    assert patched(200, *shown)["request_headers"] == shown
    refused = patched(400, {"action": "add", "name": "Authorization"}, {**secret, "sensitive": "canary"})
    assert [error["field"] for error in refused["errors"]] == ["request_headers[1].sensitive"]
    refused = patched(400, {"action": "add", "name": "Authorization"}, {**marked, "value": ""})
    assert [error["field"] for error in refused["errors"]] == ["request_headers[0].value", "request_headers[1].value"]
