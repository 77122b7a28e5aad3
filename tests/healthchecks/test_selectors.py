"""selectors: how the upstreams of a host stand, and stood."""

import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from healthchecks import selectors
from healthchecks.selectors import health_of
from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def read(host: Host) -> dict[str, Any]:
    return health_of(Host.objects.with_configuration().get(pk=host.pk), now=NOW)


def test_what_nobody_checked_is_unknown() -> None:
    """Nothing is made up."""
    document = read(make_host())
    assert (document["enabled"], document["interval_s"]) == (False, 10)
    [upstream] = document["upstreams"]
    found = {name: upstream[name] for name in ("state", "since", "last_check", "uptime_24h_percent", "samples")}
    assert found == {"state": "unknown", "since": None, "last_check": None, "uptime_24h_percent": None, "samples": []}


def test_state_history_and_uptime() -> None:
    """Newest first; of the last day three checks of four went well."""
    host = checked_host(healthy_after=1, unhealthy_after=1)
    for seconds, is_ok in ((100_000, False), (400, True), (300, False), (200, True), (100, True)):
        checked(NOW - datetime.timedelta(seconds=seconds), is_ok=is_ok, status=200 if is_ok else None)
    [upstream] = read(host)["upstreams"]
    assert (upstream["state"], upstream["successes"], upstream["failures"]) == ("healthy", 2, 0)
    assert upstream["since"] == NOW - datetime.timedelta(seconds=200)
    assert upstream["uptime_24h_percent"] == 75.0
    assert [change["state"] for change in upstream["transitions"]] == ["healthy", "unhealthy", "healthy", "unhealthy"]
    assert [sample["ok"] for sample in upstream["samples"]] == [True, True, False, True]
    assert upstream["last_check"] == {
        "at": NOW - datetime.timedelta(seconds=100),
        "ok": True,
        "duration_ms": 7,
        "status": 200,
        "code": "",
        "message": "",
    }


def test_only_the_last_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each upstream."""
    monkeypatch.setattr(selectors, "SHOWN_TRANSITIONS", 2)
    monkeypatch.setattr(selectors, "SHOWN_SAMPLES", 3)
    upstreams = [UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)]
    host = checked_host(healthy_after=1, unhealthy_after=1, upstreams=upstreams)
    for number in range(5, 0, -1):
        checked(NOW - datetime.timedelta(seconds=number), is_ok=number % 2 == 0)
    counts = {(len(upstream["transitions"]), len(upstream["samples"])) for upstream in read(host)["upstreams"]}
    assert counts == {(2, 3)}


def test_the_number_of_queries_does_not_grow() -> None:
    """With the number of upstreams."""

    def queries(count: int) -> int:
        upstreams = [UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, count + 1)]
        host = checked_host(f"host-{count}", upstreams=upstreams)
        checked(NOW)
        with CaptureQueriesContext(connection) as captured:
            read(host)
        return len(captured)

    assert queries(1) == queries(10)
