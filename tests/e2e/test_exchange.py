"""Many hosts at once, against a running Aegis with its web server and its worker."""

import json
import statistics
import threading
import time
import uuid
from typing import Any

import pytest

from hosts.posture_csv import MAX_AT_ONCE
from tests.support.instance import Instance
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

HOSTS = 25
HOSTS_IN_REPORTS = 150


def documents(prefix: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{prefix}-{number}",
            "domains": [f"{prefix}-{number}.example.com"],
            "upstreams": [{"scheme": "http", "address": "127.0.0.1", "port": 9}],
        }
        for number in range(count)
    ]


def test_an_import_tells_its_progress_and_is_served(aegis: Instance) -> None:
    """Line by line over HTTP, and the worker has all of it; an import of nothing takes it away again."""
    prefix = f"bulk-{uuid.uuid4().hex[:8]}"
    entries = documents(prefix, HOSTS)
    kept = aegis.api("GET", "hosts/export").json
    answer = aegis.web(
        "/api/v1/hosts/import",
        method="POST",
        body=json.dumps({"aegis_export": 1, "hosts": entries}),
        headers={
            "Authorization": f"Token {aegis.token}",
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson",
        },
    )
    assert answer.status == 200
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["done"] for line in lines] == [10, 20, HOSTS]
    assert lines[-1]["result"]["created"] == HOSTS

    # Nobody listens on that port: 502 says that the host is known.
    eventually(lambda: aegis.proxy(f"{prefix}-7.example.com").status == 502, within_s=30)
    removed = aegis.api("POST", f"hosts/import?on_missing=delete&delete_count={HOSTS}", kept)
    assert (removed.status, removed.json["deleted"]) == (200, HOSTS)


def test_others_hardly_wait_for_reports(aegis: Instance) -> None:
    """While as many reports are downloaded as may be, a plain request, as a rule, takes less than a second."""
    kept = aegis.api("GET", "hosts/export").json
    entries = documents(f"reported-{uuid.uuid4().hex[:8]}", HOSTS_IN_REPORTS)
    assert aegis.api("POST", "hosts/import", {"aegis_export": 1, "hosts": entries}).status == 200
    reports: list[bytes] = []

    def download() -> None:
        reports.append(aegis.api("GET", "posture?format=csv").body)

    threads = [threading.Thread(target=download) for _ in range(MAX_AT_ONCE)]
    for thread in threads:
        thread.start()
    taken = []
    while any(thread.is_alive() for thread in threads):
        before = time.monotonic()
        assert aegis.api("GET", "hosts?page_size=1").status == 200
        taken.append(time.monotonic() - before)
    assert [report.count(entries[-1]["name"].encode()) for report in reports] == [1] * MAX_AT_ONCE
    print(sorted(round(seconds, 3) for seconds in taken))  # noqa: T201 (seen with pytest -s)
    assert statistics.median(taken) < 1
    removed = aegis.api("POST", f"hosts/import?on_missing=delete&delete_count={HOSTS_IN_REPORTS}", kept)
    assert (removed.status, removed.json["deleted"]) == (200, HOSTS_IN_REPORTS)
