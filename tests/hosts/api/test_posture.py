"""GET /api/v1/posture and /api/v1/hosts/{id}/posture."""

import csv
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hosts.api.posture import PostureSerializer
from hosts.connection_tests import request_tests_as_stored
from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, LEAF, make_host, mtls, site
from tests.hosts.zoo_hosts import host_before
from upstream_tls.zoo.running import Running, run_zoo

pytestmark = pytest.mark.django_db

URL = "/api/v1/posture"


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Running]]:
    with run_zoo(["good"]) as running:
        yield running


def get(client: Client, url: str, status: int = 200, **query: Any) -> Any:
    response = client.get(url, query)
    assert response.status_code == status, response.content
    assert LEAF.key_pem.splitlines()[1] not in response.content.decode()
    return response.json()


@pytest.mark.django_db(transaction=True)
def test_one_host(admin_client: Client, zoo: dict[str, Running]) -> None:
    """With every field of the schema, on both paths, and 404 for no host."""
    host = host_before(zoo["good"], skip_verify=True)
    request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    document = get(admin_client, f"/api/v1/hosts/{host.pk}/posture")
    assert document == get(admin_client, f"/api/v1/hosts/{host.pk}/posture/")
    assert document["upstreams"][0]["last_test"]["tls_version"] == "TLSv1.3"
    assert document["upstreams"][0]["last_test"]["leaf"]["subject"]
    assert json.loads(json.dumps(PostureSerializer(document).data)) == document
    get(admin_client, f"/api/v1/hosts/{Host().pk}/posture", 404)


def test_all_hosts(admin_client: Client) -> None:
    """In pages, by name, and filtered."""
    make_host("b", upstream_tls=mtls(skip_verify=True))
    make_host("a", upstream_tls=mtls())
    make_host("c", upstreams=(UpstreamSpec(scheme="http", address="backend", port=80),))
    page = get(admin_client, URL, page_size=2)
    assert (page["count"], [found["name"] for found in page["results"]]) == (3, ["a", "b"])

    def names(**query: Any) -> list[str]:
        return [found["name"] for found in get(admin_client, f"{URL}/", **query)["results"]]

    assert names(exceptions="true") == ["b", "c"]
    assert names(exceptions="true", mtls="true") == ["b"]
    assert names(mtls="false") == ["c"]
    assert names(expiring_within_days=36500) == ["a", "b"]
    assert names(search="backend") == ["c"]
    assert names(ordering="-name") == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"exceptions": "perhaps"}, "exceptions"),
        ({"mtls": "\x00"}, "mtls"),
        ({"expiring_within_days": "-1"}, "expiring_within_days"),
        ({"expiring_within_days": "1" * 400}, "expiring_within_days"),
        ({"expiring_within_days": "soon", "format": "csv"}, "expiring_within_days"),
        ({"page": "6050797306056355840", "format": "csv"}, "page"),
    ],
)
def test_what_cannot_be_asked(admin_client: Client, query: dict[str, str], field: str) -> None:
    """A problem document, also where CSV was wanted."""
    response = admin_client.get(URL, query)
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert response.json()["errors"][0]["field"] == field


def test_csv(admin_client: Client) -> None:
    """The whole fleet, whatever the page size; by `format` and by Accept."""
    for index in range(3):
        make_host(f"host-{index}", upstream_tls=mtls())
    for response in (
        admin_client.get(URL, {"format": "csv", "page_size": 1}),
        admin_client.get(URL, headers={"Accept": "text/csv"}),
    ):
        assert (response.status_code, response["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert "attachment" in response["Content-Disposition"]
        lines = b"".join(response.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
        assert [row["host"] for row in csv.DictReader(lines)] == ["host-0", "host-1", "host-2"]
    filtered = admin_client.get(URL, {"format": "csv", "mtls": "false"})
    assert len(b"".join(filtered.streaming_content).splitlines()) == 1  # type: ignore[attr-defined]


def test_the_number_of_queries_does_not_grow(admin_client: Client) -> None:
    """Whatever the number of hosts on the page."""
    counts = []
    for number in (2, 10):
        for index in range(number):
            make_host(f"host-{number}-{index}", upstream_tls=mtls(ca_certificate=CA.pem), downstream_tls=site())
        with CaptureQueriesContext(
            connection,
        ) as queries:
            get(admin_client, URL, expiring_within_days=36500)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15


@pytest.mark.parametrize(("codenames", "expected"), [((), 403), (("change_host",), 403), (("view_host",), 200)])
def test_who_may_see_it(client: Client, codenames: tuple[str, ...], expected: int) -> None:
    """Who may view hosts."""
    host = make_host()
    assert client.get(URL).status_code == 401
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    for url in (URL, f"{URL}?format=csv", f"/api/v1/hosts/{host.pk}/posture"):
        assert client.get(url).status_code == expected
    assert client.post(URL).status_code in (403, 405)


def test_too_many_reports(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After for CSV; pages are not counted."""
    monkeypatch.setattr("hosts.api.posture.count_report", lambda user_id: 41)
    response = admin_client.get("/api/v1/posture?format=csv")
    assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
    assert int(response["Retry-After"]) >= 41
    assert admin_client.get("/api/v1/posture").status_code == 200


def test_too_many_reports_at_once(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 as well, and the place of a report that was read is free again."""
    monkeypatch.setattr("hosts.posture_csv._places", threading.BoundedSemaphore(1))
    first = admin_client.get("/api/v1/posture?format=csv")
    response = admin_client.get("/api/v1/posture?format=csv")
    assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
    assert int(response["Retry-After"]) >= 10
    assert first.getvalue()
    assert admin_client.get("/api/v1/posture?format=csv").getvalue()
