"""How hosts stand."""

import datetime
import uuid
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from healthchecks.models import HealthState, UpstreamHealth
from hosts.models import CompiledHost, Host, ProxyWorker, UpstreamFailure
from hosts.specs import UpstreamSpec
from hosts.status import HostStatus, with_status
from tests.healthchecks.examples import checked_host
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

NOW = timezone.now()
TWO = (UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="10.0.0.8", port=9443))


def status() -> HostStatus:
    return HostStatus(with_status(Host.objects.all(), now=NOW).get().status)  # type: ignore[attr-defined]


def stands(host: Host, *states: HealthState) -> None:
    for upstream, state in zip(host.upstreams.all(), states, strict=True):
        UpstreamHealth.objects.update_or_create(
            upstream=upstream, defaults={"state": state, "since": NOW, "next_due_at": NOW}
        )


UNKNOWN, HEALTHY, UNHEALTHY = HealthState.UNKNOWN, HealthState.HEALTHY, HealthState.UNHEALTHY


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((UNKNOWN, UNKNOWN), HostStatus.UNCHECKED),
        ((HEALTHY, UNKNOWN), HostStatus.UP),
        ((HEALTHY, HEALTHY), HostStatus.UP),
        ((HEALTHY, UNHEALTHY), HostStatus.DEGRADED),
        ((UNKNOWN, UNHEALTHY), HostStatus.DEGRADED),
        ((UNHEALTHY, UNHEALTHY), HostStatus.DOWN),
    ],
)
def test_checks_decide(states: tuple[HealthState, HealthState], expected: HostStatus) -> None:
    """Down when all fail; up as soon as one is known to be well and none to fail."""
    host = checked_host(upstreams=TWO)
    assert status() == HostStatus.UNCHECKED
    stands(host, *states)
    assert status() == expected


def test_only_upstreams_that_take_requests_count() -> None:
    """What is switched off or drained may fail; without any other the host is down."""
    host = checked_host(upstreams=TWO)
    stands(host, HEALTHY, UNHEALTHY)
    last = host.upstreams.last()
    assert last is not None
    host.upstreams.filter(pk=last.pk).update(drain=True)
    assert status() == HostStatus.UP
    host.upstreams.update(enabled=False)
    assert status() == HostStatus.DOWN


def test_a_check_that_is_off_says_nothing() -> None:
    """Whatever it said last."""
    host = checked_host(upstreams=TWO)
    stands(host, UNHEALTHY, UNHEALTHY)
    type(host.health_check).objects.update(enabled=False)  # type: ignore[attr-defined]
    assert status() == HostStatus.UNCHECKED


@pytest.mark.parametrize(("age_s", "expected"), [(10, HostStatus.DEGRADED), (900, HostStatus.UP)])
def test_failed_requests_count_for_a_while(age_s: int, expected: HostStatus) -> None:
    """Also where a check finds nothing wrong."""
    host = checked_host(upstreams=TWO)
    stands(host, HEALTHY, HEALTHY)
    worker = ProxyWorker.objects.create(worker_id="w", last_seen_at=NOW)
    at = NOW - datetime.timedelta(seconds=age_s)
    UpstreamFailure.objects.create(upstream=host.upstreams.all()[0], worker=worker, at=at, count=1)
    assert status() == expected


@pytest.mark.parametrize("refused_by", ["worker", "compiler"])
def test_what_is_refused_is_down(refused_by: str) -> None:
    """It answers 502; a worker that is lost says nothing."""
    host = checked_host(upstreams=TWO)
    stands(host, HEALTHY, HEALTHY)
    if refused_by == "compiler":
        row: dict[str, Any] = {"generation": 1, "schema_version": 1, "compiled_at": NOW, "problem": "bad key"}
        CompiledHost.objects.create(pk=host.pk, name=host.name, **row)
    else:
        ProxyWorker.objects.create(worker_id="w", last_seen_at=NOW, rejected={str(host.pk): "bad key"})
        ProxyWorker.objects.create(worker_id="lost", last_seen_at=NOW - datetime.timedelta(days=1), rejected={})
    assert status() == HostStatus.DOWN
    Host.objects.update(enabled=False)
    assert status() == HostStatus.DISABLED


def test_the_number_of_hosts_costs_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """One for the workers, one for all hosts."""
    for _ in range(5):
        make_host(uuid.uuid4().hex, upstreams=TWO)
    with django_assert_num_queries(2):
        assert {host.status for host in with_status(Host.objects.all(), now=NOW)} == {HostStatus.UNCHECKED}  # type: ignore[attr-defined]
