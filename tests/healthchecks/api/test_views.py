"""Health checks in the HTTP API."""

import datetime
import json
import uuid
from typing import Any

import pytest
from django.test import Client

from healthchecks.models import HealthCheck
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host

pytestmark = pytest.mark.django_db

URL = "/api/v1/hosts"
DOCUMENT = {
    "name": "orders",
    "domains": ["orders.example.com"],
    "upstreams": [{"address": "10.0.0.7", "port": 9443}],
}
CHECK = {
    "enabled": True,
    "path": "/healthz",
    "interval_s": 10,
    "timeout_s": 5,
    "healthy_after": 2,
    "unhealthy_after": 3,
    "expected_status": "200-399",
}


def send(client: Client, method: str, url: str, document: Any) -> Any:
    return client.generic(method, url, json.dumps(document), "application/json")


def test_a_check_is_written_and_read_with_its_host(admin_client: Client) -> None:
    """As the contract has it; PATCH changes what it names, PUT sets the rest to its default, the ETag is another."""
    made = send(admin_client, "POST", URL, {**DOCUMENT, "health_check": CHECK})
    assert made.status_code == 201, made.json()
    shown = made.json()["health_check"]
    assert {name: shown[name] for name in CHECK} == CHECK
    url = f"{URL}/{made.json()['id']}"
    changed = send(admin_client, "PATCH", url, {"health_check": {"path": "/live"}})
    assert (changed.json()["health_check"]["path"], changed.json()["health_check"]["enabled"]) == ("/live", True)
    assert changed["ETag"] != made["ETag"]
    assert admin_client.get(URL).json()["results"][0]["health_check"]["path"] == "/live"
    replaced = send(admin_client, "PUT", url, DOCUMENT)
    assert (replaced.json()["health_check"]["path"], replaced.json()["health_check"]["enabled"]) == ("/", False)
    assert HealthCheck.objects.count() == 1


@pytest.mark.parametrize(
    ("check", "field"),
    [
        ({"interval_s": 0}, "health_check.interval_s"),
        ({"interval_s": 10**30}, "health_check.interval_s"),
        ({"timeout_s": 10}, "health_check.timeout_s"),
        ({"timeout_s": "5"}, "health_check.timeout_s"),
        ({"path": "\x00"}, "health_check.path"),
        ({"path": "/" + "x" * 3000}, "health_check.path"),
        ({"body_contains": "\ud800"}, "health_check.body_contains"),
        ({"body_contains": "x" * 501}, "health_check.body_contains"),
        ({"expected_status": "٢٠٠"}, "health_check.expected_status"),
        ({"kind": "grpc"}, "health_check.kind"),
        ({"headers": [{"name": "Cookie", "value": "x"}]}, "health_check.headers"),
        ({"headers": [{"name": "X"}]}, "health_check.headers[0].value"),
        ({"headers": {}}, "health_check.headers"),
        ({"enabled": None}, "health_check.enabled"),
        (None, "health_check"),
        ([], "health_check"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_cannot_be_is_an_error_at_its_field(admin_client: Client, method: str, check: Any, field: str) -> None:
    """Never a failure of ours."""
    url = URL
    if method == "PATCH":
        url = f"{URL}/{send(admin_client, 'POST', URL, DOCUMENT).json()['id']}"
    answer = send(admin_client, method, url, {**DOCUMENT, "health_check": check})
    assert answer.status_code == 400, answer.content
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_how_upstreams_stand(admin_client: Client) -> None:
    """State, last check, history; with and without a trailing slash."""
    host = checked_host(unhealthy_after=1)
    checked(NOW, is_ok=False)
    for url in (f"{URL}/{host.pk}/health", f"{URL}/{host.pk}/health/"):
        answer = admin_client.get(url)
        assert answer.status_code == 200
        document = answer.json()
    assert (document["enabled"], document["interval_s"]) == (True, 10)
    [upstream] = document["upstreams"]
    assert upstream["id"] == str(host.upstreams.get().pk)
    assert (upstream["state"], upstream["last_check"]["code"]) == ("unhealthy", "connection_refused")
    assert [change["state"] for change in upstream["transitions"]] == ["unhealthy"]
    assert set(upstream["uptime"]) == {"last_24h", "last_7d", "last_30d"}
    [minute] = upstream["last_hour"]
    assert (minute["count"], minute["failures"], minute["codes"]) == (1, 1, {"connection_refused": 1})
    assert (minute["span_s"], minute["mean_ms"], minute["p95_ms"]) == (60, None, None)


def test_how_upstreams_stood(admin_client: Client) -> None:
    """A day unless asked otherwise, and of one upstream when asked; the past is there as it was."""
    upstreams = [UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)]
    host = checked_host(upstreams=upstreams, healthy_after=1)
    checked(NOW - datetime.timedelta(days=2))
    checked(NOW)
    url = f"{URL}/{host.pk}/health/history"
    document = admin_client.get(url).json()
    assert (document["step_s"], [len(found["points"]) for found in document["upstreams"]]) == (600, [1, 1])
    one = document["upstreams"][1]["id"]
    until = (NOW - datetime.timedelta(days=1)).isoformat()
    document = admin_client.get(url, {"upstream": one, "range": "7d", "until": until}).json()
    [upstream] = document["upstreams"]
    assert (upstream["id"], document["step_s"], len(upstream["points"])) == (one, 3600, 1)
    assert [stretch["state"] for stretch in upstream["states"]] == ["unknown", "healthy", "unknown"]
    assert admin_client.get(url, {"upstream": str(uuid.uuid4())}).json()["upstreams"] == []


@pytest.mark.parametrize(
    "query", [{"until": "yesterday"}, {"until": "\0"}, {"range": "1y"}, {"range": ""}, {"upstream": "x"}, {"step": "1"}]
)
def test_a_history_that_cannot_be(admin_client: Client, query: dict[str, str]) -> None:
    """Is refused at its parameter."""
    answer = admin_client.get(f"{URL}/{checked_host().pk}/health/history", query)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (400, list(query))


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_times_that_nobody_lived_in(admin_client: Client, until: str) -> None:
    """Are as the first and the last that Aegis knows."""
    answer = admin_client.get(f"{URL}/{checked_host().pk}/health/history", {"until": until})
    assert answer.status_code == 200


def test_a_host_that_is_not_there(admin_client: Client) -> None:
    """404, as a problem document."""
    answer = admin_client.get(f"{URL}/{uuid.uuid4()}/health")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_an_export_has_the_check_and_an_import_takes_it(admin_client: Client) -> None:
    """To the letter: importing one's own export changes nothing."""
    checked_host(path="/healthz", headers=[{"name": "X-Probe", "value": "1"}])
    document = admin_client.get(f"{URL}/export", headers={"accept": "application/json"}).json()
    assert document["hosts"][0]["health_check"]["path"] == "/healthz"
    document["hosts"][0]["health_check"]["path"] = "/live"
    answer = send(admin_client, "POST", f"{URL}/import", document)
    assert answer.status_code == 200, answer.content
    assert HealthCheck.objects.get().path == "/live"
