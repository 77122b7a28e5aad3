"""alerts: what is told of changes of state."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.notifications.models import NotedEvent
from healthchecks.alerts import settle_what_is_over
from healthchecks.models import UpstreamHealth
from healthchecks.recording import Result, record
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked_host, claims_of_all, outcome

pytestmark = pytest.mark.django_db

ONCE = {"healthy_after": 1, "unhealthy_after": 1}
TWO = [UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)]


def checked(seconds: int, *well: bool, code: str = "connection_refused") -> None:
    """One round: of the upstreams in the order of their ports."""
    now = NOW + datetime.timedelta(seconds=seconds)
    claims = claims_of_all(now)
    ports = dict(UpstreamHealth.objects.values_list("pk", "upstream__port"))
    claims.sort(key=lambda claim: ports[claim.upstream_id])
    failure = {"code": code, "message": "why"}
    record(
        [
            Result(claim=claim, outcome=outcome(is_ok=is_ok, at=now, **({} if is_ok else failure)))
            for claim, is_ok in zip(claims, well, strict=True)
        ],
        now=now,
    )


def told() -> list[str]:
    return list(NotedEvent.objects.order_by("pk").values_list("kind", flat=True))


def test_down_and_up() -> None:
    """With the duration's beginning; being healthy for the first time is no news."""
    checked_host(upstreams=TWO, **ONCE)
    checked(0, True, True)
    checked(10, False, True)
    checked(20, False, True)
    checked(50, True, True)
    assert told() == ["upstream_down", "upstream_up"]
    down, up = NotedEvent.objects.order_by("pk")
    assert down.title == "Upstream 10.0.0.7:1 of orders is down"
    assert down.text == "Nobody listens at the upstream's address and port."
    assert down.details == {"Code": "connection_refused", "Message": "why"}
    assert up.since == down.at == NOW + datetime.timedelta(seconds=10)
    assert down.group == up.group


def test_a_host_without_a_healthy_upstream() -> None:
    """When the last one goes, and when the first one comes back."""
    checked_host(upstreams=TWO, **ONCE)
    checked(0, True, True)
    checked(10, False, True)
    checked(20, False, False)
    checked(30, False, True)
    checked(40, True, True)
    assert told() == [
        "upstream_down",
        "upstream_down",
        "host_without_upstream",
        "upstream_up",
        "host_served_again",
        "upstream_up",
    ]


def test_an_unknown_upstream_may_be_healthy() -> None:
    """A host is not without one as long as some were never checked."""
    checked_host(upstreams=TWO, healthy_after=3, unhealthy_after=1)
    checked(0, False, True)
    assert told() == ["upstream_down"]


def test_a_tls_failure_is_told_beside_its_upstream() -> None:
    """By the failure inbox, which hears of it from traffic and tests as well, and so once."""
    checked_host(**ONCE)
    checked(0, False, code="expired")
    assert sorted(told()) == ["host_without_upstream", "tls_failure", "upstream_down"]


def test_what_is_gone_is_settled() -> None:
    """A host that was deleted, or is not checked any more, is not told of every day."""
    from aegis_site.kernel.notifications.distribution import remind

    host = checked_host(**ONCE)
    checked(0, False)
    settle_what_is_over()
    day = NOW + datetime.timedelta(days=1)
    assert remind(now=day) == 2
    host.delete()
    settle_what_is_over()
    assert remind(now=day + datetime.timedelta(days=2)) == 0


def test_many_changes_take_few_queries() -> None:
    """And a round without a change takes none more."""
    counts = []
    for name, number in (("few", 2), ("many", 60)):
        upstreams = [UpstreamSpec(address="10.0.0.7", port=port + 1) for port in range(number)]
        host = checked_host(name, upstreams=upstreams, **ONCE)
        claims = claims_of_all(NOW)
        failed = [Result(claim=claim, outcome=outcome(is_ok=False)) for claim in claims]
        with CaptureQueriesContext(connection) as queries:
            record(failed, now=NOW)
        counts.append(len(queries))
        host.delete()
    # SQLite takes 999 values in one statement.
    assert counts[1] <= counts[0] + 8
