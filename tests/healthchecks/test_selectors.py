"""selectors: how the upstreams of a host stand, and stood."""

import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from healthchecks import selectors
from healthchecks.history import Period, Range
from healthchecks.selectors import health_of, history_of
from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


UPSTREAMS = [UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)]


def read(host: Host) -> dict[str, Any]:
    return health_of(Host.objects.with_configuration().get(pk=host.pk), now=NOW)


def test_what_nobody_checked_is_unknown() -> None:
    """Nothing is made up."""
    document = read(make_host())
    assert (document["enabled"], document["interval_s"]) == (False, 10)
    [upstream] = document["upstreams"]
    found = {name: upstream[name] for name in ("state", "since", "last_check", "last_hour")}
    assert found == {"state": "unknown", "since": None, "last_check": None, "last_hour": []}
    assert upstream["uptime"]["last_30d"] == {"percent": None, "known_s": 0}


def test_state_history_and_uptime() -> None:
    """Newest changes first; of 400 known seconds the upstream was down for 100."""
    host = checked_host(healthy_after=1, unhealthy_after=1, interval_s=100)
    for seconds, is_ok in ((400, True), (300, False), (200, True), (100, True)):
        checked(NOW - datetime.timedelta(seconds=seconds), is_ok=is_ok, status=200 if is_ok else None)
    [upstream] = read(host)["upstreams"]
    assert (upstream["state"], upstream["successes"], upstream["failures"]) == ("healthy", 2, 0)
    assert upstream["since"] == NOW - datetime.timedelta(seconds=200)
    assert upstream["uptime"]["last_24h"] == {"percent": 75.0, "known_s": 400}
    assert [change["state"] for change in upstream["transitions"]] == ["healthy", "unhealthy", "healthy"]
    points = upstream["last_hour"]
    assert [(point["count"], point["failures"], point["mean_ms"]) for point in points] == [
        (1, 0, 7.0),
        (1, 1, None),
        (1, 0, 7.0),
        (1, 0, 7.0),
    ]
    assert upstream["last_check"] == {
        "at": NOW - datetime.timedelta(seconds=100),
        "ok": True,
        "duration_ms": 7,
        "status": 200,
        "code": "",
        "message": "",
    }


def test_history_of_one_upstream() -> None:
    """States without gaps, and points."""
    host = checked_host(healthy_after=1, unhealthy_after=1, upstreams=UPSTREAMS)
    checked(NOW - datetime.timedelta(minutes=30), is_ok=False)
    upstream_id = host.upstreams.all()[0].pk
    document = history_of(host, Period.ending(None, range_=Range.HOUR, now=NOW), upstream_id=upstream_id)
    [upstream] = document["upstreams"]
    assert upstream["id"] == upstream_id
    assert [stretch["state"] for stretch in upstream["states"]] == ["unknown", "unhealthy", "unknown"]
    assert [point["codes"] for point in upstream["points"]] == [{"connection_refused": 1}]


def test_only_the_last_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each upstream."""
    monkeypatch.setattr(selectors, "SHOWN_TRANSITIONS", 2)
    host = checked_host(healthy_after=1, unhealthy_after=1, upstreams=UPSTREAMS)
    for number in range(5, 0, -1):
        checked(NOW - datetime.timedelta(seconds=number), is_ok=number % 2 == 0)
    assert {len(upstream["transitions"]) for upstream in read(host)["upstreams"]} == {2}


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
