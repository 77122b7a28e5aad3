"""Many hosts at once, against a running Aegis with its web server and its worker."""

import json
import uuid

import pytest

from tests.support.instance import Instance
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

HOSTS = 25


def test_an_import_tells_its_progress_and_is_served(aegis: Instance) -> None:
    """Line by line over HTTP, and the worker has all of it; an import of nothing takes it away again."""
    prefix = f"bulk-{uuid.uuid4().hex[:8]}"
    entries = [
        {
            "name": f"{prefix}-{number}",
            "domains": [f"{prefix}-{number}.example.com"],
            "upstreams": [{"scheme": "http", "address": "127.0.0.1", "port": 9}],
        }
        for number in range(HOSTS)
    ]
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
