"""How hosts, workers and checks stand."""

import datetime

import pytest

from aegis_site.dashboard.standing import fleet, late_checks, workers
from healthchecks.models import HealthState
from hosts.models import Upstream
from hosts.selectors import LOST_AFTER, WorkerHealth
from hosts.specs import UpstreamSpec
from tests.aegis_site.dashboard.examples import (
    MINUTE,
    NOW,
    checked,
    failed_request,
    failing,
    healthy,
    published,
    worker,
)
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

TWO = (UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="10.0.0.8", port=9443))


def states() -> dict[str, int]:
    return {state.value: count for state, count in fleet(now=NOW).counts.items() if count}


def test_nothing_is_known_of_a_host_that_is_not_checked() -> None:
    """It is not up: nobody asked. Neither is one whose last check is too old, or that has no verdict yet."""
    assert states() == {}
    make_host("silent")
    failing(make_host("stale"), fresh_until=NOW - MINUTE)
    checked(make_host("new").upstreams.get(), HealthState.UNKNOWN)
    make_host("off", enabled=False)
    assert states() == {"unchecked": 3, "off": 1}
    assert fleet(now=NOW).total == 4
    assert fleet(now=NOW).served == 3


def test_what_checks_say() -> None:
    """All upstreams fail: down. Some: degraded. A disabled upstream counts for nothing."""
    healthy(make_host("good"))
    half = make_host("half", upstreams=TWO)
    first, second = half.upstreams.all()
    checked(first, HealthState.UNHEALTHY)
    checked(second, HealthState.HEALTHY)
    failing(make_host("bad"))
    both = failing(make_host("both", upstreams=TWO), since=NOW - 2 * MINUTE)
    disabled = make_host("disabled", upstreams=TWO)
    checked(disabled.upstreams.all()[0], HealthState.HEALTHY)
    checked(disabled.upstreams.all()[1], HealthState.UNHEALTHY)
    Upstream.objects.filter(pk=disabled.upstreams.all()[1].pk).update(enabled=False)
    assert states() == {"up": 2, "degraded": 1, "down": 2}
    found = fleet(now=NOW).troubles
    assert [(trouble.name, trouble.why, trouble.code) for trouble in found] == [
        ("both", "All 2 upstreams fail the checks.", "connection_refused"),
        ("bad", "Its upstream fails the checks.", "connection_refused"),
        ("half", "1 of 2 upstreams fails the checks.", "connection_refused"),
    ]
    assert found[0].host_id == both.pk
    assert found[0].since == NOW - 2 * MINUTE


def test_what_workers_and_their_traffic_say() -> None:
    """A host that is refused, or has no upstream, is down; one without HTTPS, or whose requests fail, is degraded."""
    by = worker()
    refused = healthy(make_host("refused"))
    by.rejected = {str(refused.pk): "no such cipher"}
    by.save()
    published(make_host("sealed"), 1, problem="The key does not open.")
    Upstream.objects.filter(host=make_host("empty")).update(enabled=False)
    published(healthy(make_host("plain")), 2, downstream_problem="The key does not open.")
    failed_request(healthy(make_host("flaky")), by)
    failed_request(healthy(make_host("recovered")), by, at=NOW - 10 * MINUTE)
    # Neither is served, so nothing is wrong with them.
    published(make_host("off", enabled=False), 3, problem="The key does not open.")
    published(gone := make_host("gone"), 4, problem="The key does not open.")
    gone.delete()
    assert states() == {"down": 3, "degraded": 2, "up": 1, "off": 1}
    assert {trouble.name: trouble.why for trouble in fleet(now=NOW).troubles} == {
        "refused": "A worker refuses its configuration: no such cipher",
        "sealed": "The key does not open.",
        "empty": "It has no upstream that is switched on.",
        "plain": "HTTPS is refused: The key does not open.",
        "flaky": "Requests failed at an upstream within the last minutes.",
    }


def test_workers() -> None:
    """The lost first, then those that lack something, with the age of the oldest change that they lack."""
    for generation in (1, 2, 3):
        published(make_host(f"host{generation}"), generation, compiled_at=NOW - (10 - generation) * MINUTE)
    worker("current", generation=3)
    worker("behind", generation=1)
    worker("lost", generation=3, last_seen_at=NOW - LOST_AFTER - MINUTE)
    found = workers(now=NOW)
    assert [(standing.worker.pk, standing.health) for standing in found] == [
        ("lost", WorkerHealth.LOST),
        ("behind", WorkerHealth.BEHIND),
        ("current", WorkerHealth.CURRENT),
    ]
    assert [standing.lag for standing in found] == [None, datetime.timedelta(minutes=8), None]
    assert {standing.latest for standing in found} == {3}


def test_late_checks() -> None:
    """Those that nobody takes although they are due for a minute."""
    host = make_host()
    row = checked(host.upstreams.get(), HealthState.HEALTHY, next_due_at=NOW - MINUTE / 2)
    assert late_checks(now=NOW).count == 0
    row.next_due_at = NOW - 3 * MINUTE
    row.save()
    late = late_checks(now=NOW)
    assert (late.count, late.since) == (1, NOW - 3 * MINUTE)
