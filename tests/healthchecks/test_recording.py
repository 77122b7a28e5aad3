"""recording: what is written down of checks."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from healthchecks.models import HealthState, HealthSummary, HealthTransition, UpstreamHealth
from healthchecks.recording import Result, record
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host, claims_of_all, outcome

pytestmark = pytest.mark.django_db


MINUTE = NOW.replace(second=0, microsecond=0)


def rounds(*well: bool) -> None:
    for number, is_ok in enumerate(well):
        checked(MINUTE + datetime.timedelta(seconds=10 * number), is_ok=is_ok)


def test_an_upstream_comes_up_and_goes_down() -> None:
    """State, since when, and a change with its reason; all checks are counted in their minute."""
    checked_host()
    rounds(True, True, False, False, False)
    row = UpstreamHealth.objects.get()
    assert (row.state, row.successes, row.failures, row.code) == ("unhealthy", 0, 3, "connection_refused")
    assert row.since == MINUTE + datetime.timedelta(seconds=40)
    changes = HealthTransition.objects.order_by("at").values_list("previous", "state", "code")
    assert list(changes) == [("unknown", "healthy", ""), ("healthy", "unhealthy", "connection_refused")]
    [summary] = HealthSummary.objects.all()
    assert (summary.count, summary.failures, summary.codes) == (5, 3, {"connection_refused": 3})


def test_the_next_check_keeps_its_phase() -> None:
    """One interval after this one was due, not after it was done."""
    checked_host()
    claims = claims_of_all(NOW)
    record([Result(claim=claim, outcome=outcome()) for claim in claims], now=NOW + datetime.timedelta(seconds=3))
    row = UpstreamHealth.objects.get()
    assert (row.next_due_at, row.claim) == (NOW + datetime.timedelta(seconds=10), None)


def test_time_in_which_nobody_checked_is_unknown() -> None:
    """From when the last check did not count any more; the state goes on, and nobody is told of a change."""
    checked_host(healthy_after=1)
    checked(NOW)
    fresh_until = UpstreamHealth.objects.get().fresh_until
    assert fresh_until == NOW + datetime.timedelta(seconds=45)
    back = NOW + datetime.timedelta(hours=3)
    [claim] = claims_of_all(back)
    assert record([Result(claim=claim, outcome=outcome(at=back))], now=back) == []
    changes = HealthTransition.objects.order_by("at").values_list("at", "previous", "state")
    assert list(changes)[1:] == [(fresh_until, "healthy", "unknown"), (back, "unknown", "healthy")]
    row = UpstreamHealth.objects.get()
    assert (row.state, row.since) == ("healthy", NOW)


def test_a_check_that_comes_in_time_leaves_no_gap() -> None:
    """Three intervals and a restart of the worker are in time."""
    checked_host(healthy_after=1)
    checked(NOW)
    checked(NOW + datetime.timedelta(seconds=45))
    assert HealthTransition.objects.count() == 1


def test_a_result_after_its_lease_is_void() -> None:
    """Somebody else has the claim by now."""
    checked_host()
    [claim] = claims_of_all(NOW)
    claims_of_all(NOW + datetime.timedelta(minutes=1))
    assert record([Result(claim=claim, outcome=outcome())], now=NOW) == []
    assert not HealthSummary.objects.exists()


def test_a_result_of_an_upstream_that_is_gone_is_void() -> None:
    """And harms no other one."""
    host = checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)])
    claims = claims_of_all(NOW)
    host.upstreams.all()[0].delete()
    record([Result(claim=claim, outcome=outcome()) for claim in claims], now=NOW)
    assert HealthSummary.objects.count() == 1
    assert UpstreamHealth.objects.count() == 1


def test_a_check_without_verdict_counts_for_nothing() -> None:
    """It is only done again at its time."""
    checked_host()
    [claim] = claims_of_all(NOW)
    record([Result(claim=claim, outcome=None)], now=NOW)
    row = UpstreamHealth.objects.get()
    assert (row.state, row.checked_at, row.claim) == (HealthState.UNKNOWN, None, None)
    assert not HealthSummary.objects.exists()


def test_what_a_stranger_wrote_is_stored_printable_and_short() -> None:
    """Names in certificates are the upstream's own."""
    checked_host()
    checked(NOW, is_ok=False, message="x\x00\ud800" + "y" * 1000)
    message = UpstreamHealth.objects.get().message
    assert (message[:4], len(message)) == ("x??y", 500)


def test_the_number_of_queries_does_not_grow() -> None:
    """With the number of results, for as many as stand in one statement."""

    def queries(count: int) -> int:
        upstreams = [UpstreamSpec(address="a", port=port) for port in range(1, count + 1)]
        checked_host(f"host-{count}", upstreams=upstreams, healthy_after=20)
        claims = claims_of_all(NOW)
        with CaptureQueriesContext(connection) as captured:
            record([Result(claim=claim, outcome=outcome()) for claim in claims], now=NOW)
        return len(captured)

    assert queries(1) == queries(20)
