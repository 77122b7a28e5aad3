"""claims: which upstreams are checked, and who checks them now."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from healthchecks.claims import LEASE_GRACE, claim_due, synchronise, verdicts
from healthchecks.models import HealthCheck, HealthState, HealthTransition, UpstreamHealth
from hosts.models import Host
from hosts.services import update_host
from hosts.specs import HostSpec, UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host, claims_of_all
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def later(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


def test_what_is_checked() -> None:
    """Enabled upstreams of enabled hosts with an enabled check, and no others, also after a change."""
    host = checked_host(
        upstreams=(UpstreamSpec(address="10.0.0.7", port=1), UpstreamSpec(address="10.0.0.8", port=2, enabled=False))
    )
    make_host("without-check")
    synchronise(now=NOW)
    assert [row.upstream.address for row in UpstreamHealth.objects.all()] == ["10.0.0.7"]
    update_host(host=host, spec=HostSpec(enabled=False), user=None)
    synchronise(now=NOW)
    assert not UpstreamHealth.objects.exists()


def test_what_is_checked_no_more_is_unknown_from_then_on() -> None:
    """Or from when its last check did not count any more; what had no verdict leaves no trace."""
    upstreams = [UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)]
    host = checked_host(upstreams=upstreams, healthy_after=1)
    checked(NOW)
    UpstreamHealth.objects.filter(upstream__port=2).update(state=HealthState.UNKNOWN)
    HealthTransition.objects.all().delete()
    update_host(host=host, spec=HostSpec(enabled=False), user=None)
    synchronise(now=later(3600))
    synchronise(now=later(3600))
    changes = HealthTransition.objects.values_list("upstream__port", "at", "previous", "state")
    assert list(changes) == [(1, later(45), "healthy", "unknown")]


def test_first_checks_are_spread() -> None:
    """Over the interval, so that many upstreams that were made at once are not checked at once."""
    checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)])
    drawn = iter((0.0, 0.5))
    synchronise(now=NOW, draw=lambda: next(drawn))
    due = sorted(UpstreamHealth.objects.values_list("next_due_at", flat=True))
    assert due == [NOW, later(5)]


def test_of_two_workers_one_gets_the_check() -> None:
    """What one has taken is not there for the other, until its lease is over."""
    checked_host(timeout_s=5.0)
    assert len(claims_of_all(NOW)) == 1
    assert claim_due(now=NOW, limit=10) == []
    lease_s = 5 + LEASE_GRACE.total_seconds()
    assert claim_due(now=later(lease_s - 0.1), limit=10) == []
    # The worker died: its check is due again, within fifteen seconds.
    assert len(claim_due(now=later(lease_s + 1), limit=10)) == 1
    assert lease_s + 1 < 15


def test_checks_of_a_worker_that_died_are_spread() -> None:
    """Their claims end at one moment, and hundreds at once would stay together from then on."""
    checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2, 3)], timeout_s=5.0)
    assert len({claim.due_at for claim in claims_of_all(NOW)}) == 1
    drawn = iter((0.0, 0.5, 0.9))
    claims = claim_due(now=later(20), limit=10, draw=lambda: next(drawn))
    assert sorted(claim.due_at for claim in claims) == [later(20), later(20.5), later(20.9)]


def test_no_more_are_taken_than_can_be_done() -> None:
    """The longest due first; the others stay for the next sweep or worker."""
    checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2, 3)])
    synchronise(now=NOW, draw=lambda: 0.0)
    assert len(claim_due(now=NOW, limit=2)) == 2
    assert len(claim_due(now=NOW, limit=0)) == 0
    assert len(claim_due(now=NOW, limit=5)) == 1


def test_a_changed_host_is_checked_soon() -> None:
    """And not after an interval that may have been an hour."""
    host = checked_host(interval_s=3600)
    synchronise(now=NOW, draw=lambda: 1.0)
    UpstreamHealth.objects.update(next_due_at=later(3000))
    assert claim_due(now=NOW, limit=10) == []
    spec = HostSpec(sections={"health_check": {"interval_s": 10}})
    update_host(host=host, spec=spec, user=None)
    [claim] = claim_due(now=NOW, limit=10, draw=lambda: 0.5)
    assert (claim.interval_s, claim.due_at) == (10, later(0.5))
    assert claim_due(now=NOW, limit=10) == []


def test_the_number_of_queries_does_not_grow() -> None:
    """Neither with hosts nor with upstreams."""

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            claims_of_all(NOW)
        return len(captured)

    checked_host("one")
    claims_of_all(NOW)
    few = queries()
    for name in ("two", "three", "four"):
        checked_host(name, upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, 20)])
    claims_of_all(NOW)
    assert queries() == few


def test_what_upstreams_of_deleted_hosts_leave_behind() -> None:
    """Nothing."""
    host = checked_host()
    synchronise(now=NOW)
    Host.objects.filter(pk=host.pk).delete()
    assert not UpstreamHealth.objects.exists()
    assert not HealthCheck.objects.exists()


def test_only_states_that_are_known_are_verdicts() -> None:
    """By the upstream's id."""
    checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)])
    synchronise(now=NOW)
    row = UpstreamHealth.objects.all()[0]
    UpstreamHealth.objects.filter(pk=row.pk).update(state=HealthState.UNHEALTHY)
    assert verdicts() == {str(row.pk): HealthState.UNHEALTHY}
