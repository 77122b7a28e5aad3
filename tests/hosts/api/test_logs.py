"""GET /api/v1/logs, /api/v1/hosts/{id}/logs and /api/v1/logs/{request_id}."""

import threading
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hosts.api.logs import LogLineSerializer
from hosts.models import ProxyWorker, UpstreamFailure
from tests.hosts.examples import make_host
from tests.hosts.logs.examples import NOW, answered, attempted, write

pytestmark = pytest.mark.django_db

URL = "/api/v1/logs"


@pytest.fixture
def directory(tmp_path: Path, settings: Any) -> Path:
    settings.AEGIS_ACCESS_LOG = tmp_path / "access-log"
    return tmp_path / "access-log"


def get(client: Client, url: str, **query: Any) -> Any:
    response = client.get(url, query)
    assert response.status_code == 200, response.content
    return response.json()


def test_pages_of_lines(admin_client: Client, directory: Path) -> None:
    """With every field of the schema; of one host or of all; each page goes on behind the one before."""
    host = make_host(name="app.test")
    write(directory, *(answered(9 - n, target=f"/{n}") for n in range(9)))
    write(directory, answered(0.5, host="other.test"), host="other.test")
    assert len(get(admin_client, URL)["results"]) == 10
    seen, cursor = list[str](), {}
    while True:
        page = get(admin_client, f"/api/v1/hosts/{host.pk}/logs", limit=4, **cursor)
        seen += [line["target"] for line in page["results"]]
        if page["next_cursor"] is None:
            break
        assert page["searched_to"]
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [f"/{n}" for n in range(8, -1, -1)]
    (line,) = get(admin_client, URL, path="/3", since=NOW.isoformat()[:10])["results"]
    assert list(line) == list(LogLineSerializer().fields)
    assert (line["time"], line["kind"], line["upstream"]) == (
        "2026-05-04T11:59:54.000Z",
        "request",
        "https://10.0.0.7:9443",
    )
    assert line["code"] is line["phase"] is line["referer"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"status": "20"},
        {"status": "6xx"},
        {"view": "all"},
        {"since": "yesterday"},
        {"cursor": "1"},
        {"cursor": "0000000000000-00000000-0000000000000-000000000000000/.."},
        {"limit": "501"},
        {"limit": "0"},
        {"request_id": "a b"},
        {"path": "x" * 301},
        {"host": "app.test"},
    ],
)
def test_what_is_no_filter_is_refused(admin_client: Client, directory: Path, query: dict[str, str]) -> None:
    """At its parameter."""
    response = admin_client.get(URL, query)
    assert response.status_code == 400
    assert next(iter(query)) in response.content.decode()


def test_a_request_with_its_diagnosis(admin_client: Client, directory: Path) -> None:
    """The line, and of what failed why and what to do; 404 for what is nowhere."""
    make_host(name="app.test")
    write(directory, answered(5, status=502, upstream_status=None, upstream_failure="unknown_authority"))
    write(directory, attempted(5), kind="errors")
    found = get(admin_client, f"{URL}/0a0b0c0d00005000")
    assert [line["status"] for line in found["answers"]] == [502]
    (failure,) = found["failures"]
    assert failure["reason"] == "unable to get local issuer certificate"
    assert failure["cause"].startswith("Nobody who is trusted here")
    assert failure["fix"]
    assert admin_client.get(f"{URL}/ffff").status_code == 404
    assert admin_client.get(f"{URL}/a%20b").status_code == 404


def test_a_failure_that_only_its_worker_told(admin_client: Client, settings: Any) -> None:
    """Without files, or of another machine, there is what the worker reported of its upstream's last failure."""
    settings.AEGIS_ACCESS_LOG = "stdout"
    host = make_host(name="app.test")
    worker = ProxyWorker.objects.create(
        worker_id="a", generation=1, accepted=1, rejected={}, version="1", pid=1, last_seen_at=timezone.now()
    )
    UpstreamFailure.objects.create(
        upstream=host.upstreams.get(),
        worker=worker,
        phase="tls",
        code="expired",
        reason="certificate has expired",
        request_id="abc/1",
        at=NOW,
        count=1,
    )
    found = get(admin_client, f"{URL}/abc/1")
    assert found["answers"] == []
    assert [(failure["code"], failure["host"]) for failure in found["failures"]] == [("expired", "app.test")]
    assert admin_client.get(URL).status_code == admin_client.get(f"/api/v1/hosts/{host.pk}/logs").status_code == 409
    assert "no_log_files" in admin_client.get(URL).content.decode()


def test_only_a_few_searches_at_once(admin_client: Client, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with when to come again."""
    write(directory, answered(1))
    monkeypatch.setattr("hosts.logs.search._places", threading.Semaphore(0))
    monkeypatch.setattr("hosts.logs.search.PATIENCE_S", 0)
    for url in (URL, f"{URL}/ffff"):
        response = admin_client.get(url)
        assert response.status_code == 429
        assert int(response["Retry-After"]) >= 5
