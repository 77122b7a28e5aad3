"""taking: each failure of the traffic arrives once."""

import datetime

import pytest
from pytest_django import DjangoAssertNumQueries

from healthchecks.failures.models import FailureCount, FailureGroup
from healthchecks.failures.taking import take_counts
from hosts.models import ProxyWorker
from hosts.upstream_failures import record_failures
from tests.healthchecks.examples import NOW
from tests.healthchecks.failures.examples import keep, reported
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db


def test_a_failure_arrives_once() -> None:
    """Whether its report was made again, or one before it was lost."""
    host = make_host()
    keep(reported(host, code_count=3))
    keep(reported(host, code_count=3))
    assert take_counts(now=NOW) == 1
    keep(reported(host, code_count=3))
    assert take_counts(now=NOW) == 0
    keep(reported(host, code_count=10))
    take_counts(now=NOW)
    group = FailureGroup.objects.get()
    assert (group.traffic_count, group.request_id) == (10, "a1-42")


def test_a_worker_that_starts_again_counts_anew() -> None:
    """Its first failure is one more, and a late report of the run before is none."""
    host = make_host()
    keep(reported(host, code_count=3))
    take_counts(now=NOW)
    keep(reported(host, code_count=1), run="second")
    keep(reported(host, code_count=3))
    take_counts(now=NOW)
    assert FailureGroup.objects.get().traffic_count == 4


def test_nothing_new_is_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """It runs every two seconds."""
    keep(reported(make_host()))
    take_counts(now=NOW)
    with django_assert_num_queries(3):  # with its savepoint
        take_counts(now=NOW)


def test_what_was_deleted_meanwhile_is_passed_over() -> None:
    """And not looked at again."""
    host = make_host()
    keep(reported(host))
    host.delete()
    assert (take_counts(now=NOW), take_counts(now=NOW)) == (1, 0)
    assert not FailureGroup.objects.exists()
    assert FailureCount.objects.exists()


def test_what_a_worker_reports_arrives() -> None:
    """All codes of an upstream, where the host's page keeps only the last."""
    host = make_host()
    worker = ProxyWorker.objects.create(worker_id="edge:1", last_seen_at=NOW)
    before = (NOW - datetime.timedelta(seconds=1)).timestamp()
    failures = [reported(host, code="timeout", at=before), reported(host)]
    record_failures(worker=worker, run="r", reported=failures, now=NOW)
    take_counts(now=NOW)
    counted = FailureGroup.objects.order_by("code").values_list("code", "traffic_count")
    assert list(counted) == [("client_certificate_untrusted", 3), ("timeout", 3)]
