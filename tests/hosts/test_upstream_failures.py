"""What workers say about failing upstreams."""

import uuid
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hosts.models import Host, ProxyWorker, UpstreamFailure
from hosts.specs import UpstreamSpec
from hosts.upstream_failures import failures_of, recently_failing, record_failures
from proxyworker.snapshot import UpstreamFailure as Reported
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

NOW = timezone.now()
TWO = (UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="10.0.0.8", port=9443))


def worker(name: str = "edge:1") -> ProxyWorker:
    return ProxyWorker.objects.get_or_create(worker_id=name, defaults={"last_seen_at": NOW})[0]


def failure(host: Host, number: int = 0, *, age_s: float = 10, **values: Any) -> Reported:
    reported = {
        "host_id": str(host.pk),
        "upstream_id": str(host.upstreams.all()[number].pk),
        "phase": "tls",
        "code": "unknown_authority",
        "reason": "x509: certificate signed by unknown authority",
        "request_id": "a1-42",
        "at": NOW.timestamp() - age_s,
        "count": 3,
    }
    return Reported(**(reported | values))


def record(*failures: Reported, by: str = "edge:1") -> None:
    record_failures(worker=worker(by), reported=failures, now=NOW)


def test_the_last_failure_of_each_upstream_and_worker_is_kept() -> None:
    """A later report replaces it, another worker has its own; the newest stands first."""
    host = make_host(upstreams=TWO)
    record(failure(host), failure(host, 1, age_s=60))
    record(failure(host, age_s=5, code="timeout", count=4))
    record(failure(host, age_s=7), by="edge:2")
    rows = [(row.upstream.address, row.worker_id, row.code, row.count) for row in failures_of(host.pk)]
    assert rows == [
        ("10.0.0.7", "edge:1", "timeout", 4),
        ("10.0.0.7", "edge:2", "unknown_authority", 3),
        ("10.0.0.8", "edge:1", "unknown_authority", 3),
    ]


def test_of_several_in_one_report_the_last_counts() -> None:
    """In whatever order they come."""
    host = make_host()
    record(failure(host, age_s=1, code="timeout"), failure(host, age_s=9))
    assert UpstreamFailure.objects.get().code == "timeout"


def test_what_was_deleted_meanwhile_is_passed_over() -> None:
    """And what is no id at all; the others are kept."""
    host = make_host()
    record(failure(host, upstream_id=str(uuid.uuid4())), failure(host, upstream_id="?"), failure(host))
    assert UpstreamFailure.objects.count() == 1
    record(failure(host, upstream_id=str(uuid.uuid4())))


def test_texts_and_numbers_are_bounded() -> None:
    """A report never fails for them, on any database."""
    host = make_host()
    record(failure(host, phase="p" * 99, code="c" * 99, reason="a\x00\n" + "r" * 999, request_id="i" * 99, count=2**70))
    row = UpstreamFailure.objects.get()
    assert (len(row.phase), len(row.code), len(row.reason), len(row.request_id)) == (20, 50, 500, 64)
    assert row.reason.startswith("a??r")
    assert row.count == 2**63 - 1


@pytest.mark.parametrize("ahead_s", [3600.0, float("nan"), float("inf"), 1e300])
def test_a_clock_that_is_wrong_makes_nothing_newer_than_now(ahead_s: float) -> None:
    """Else one broken clock would hide all that comes later."""
    record(failure(make_host(), at=NOW.timestamp() + ahead_s))
    assert UpstreamFailure.objects.get().at == NOW


def test_failures_go_with_upstream_host_and_worker() -> None:
    """The table is bounded by what exists."""
    host = make_host(upstreams=TWO)
    record(failure(host), failure(host, 1))
    record(failure(host), by="edge:2")
    host.upstreams.all()[1].delete()
    worker("edge:2").delete()
    assert [row.worker_id for row in UpstreamFailure.objects.all()] == ["edge:1"]
    host.delete()
    assert not UpstreamFailure.objects.exists()


def test_only_recent_failures_are_worth_a_word_in_the_list(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """In one query."""
    hosts = [make_host(f"host{number}", upstreams=TWO) for number in range(3)]
    record(failure(hosts[0], age_s=60), failure(hosts[0], 1, age_s=30, code="timeout"))
    record(failure(hosts[1], age_s=301))
    with django_assert_num_queries(1):
        failing = recently_failing([host.pk for host in hosts], now=NOW)
    assert failing == {hosts[0].pk}
    assert recently_failing([hosts[1].pk, hosts[2].pk], now=NOW) == set()


def test_a_report_costs_the_same_for_any_number_of_failures(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """The transaction's own two statements, and two more."""
    host, seen_by = make_host(upstreams=TWO), worker()
    for failures in ([failure(host)], [failure(host), failure(host, 1)]):
        with django_assert_num_queries(5):
            record_failures(worker=seen_by, reported=failures, now=NOW)
