"""counts: what workers counted, until the inbox takes it."""

import datetime
import uuid

import pytest

from healthchecks.failures.counts import KEPT_OF_LOST_WORKER, KEPT_OLD_RUN, forget_counts, keep_counts
from healthchecks.failures.models import FailureCount
from hosts.models import ProxyWorker
from tests.healthchecks.examples import NOW
from tests.healthchecks.failures.examples import CODE, keep, reported
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

SECOND = datetime.timedelta(seconds=1)


def test_a_later_report_replaces_the_count() -> None:
    """Of the same run; another run, and another code, have rows of their own."""
    host = make_host()
    keep(reported(host))
    keep(reported(host, code_count=7, request_id="a1-99"))
    keep(reported(host, code_count=1), run="second")
    keep(reported(host, code="timeout"))
    rows = FailureCount.objects.order_by("pk").values_list("run", "code", "count", "counted", "request_id")
    assert list(rows) == [
        ("first", CODE, 7, 0, "a1-99"),
        ("second", CODE, 1, 0, "a1-42"),
        ("first", "timeout", 3, 0, "a1-42"),
    ]


def test_texts_and_numbers_are_bounded() -> None:
    """A report never fails for them, nor for two codes that become the same."""
    host = make_host()
    long = {"code_count": 2**70, "reason": "r\x00" * 400}
    keep(reported(host, code="c" * 60), reported(host, code="c" * 61, **long))
    row = FailureCount.objects.get()
    assert (len(row.code), len(row.message), row.count) == (50, 500, 2**63 - 1)


def test_only_what_can_grow_is_kept() -> None:
    """Counts of runs that are over, of workers long lost and of upstreams that are gone are forgotten."""
    host = make_host()
    ProxyWorker.objects.create(worker_id="edge:1", last_seen_at=NOW)
    long_ago = NOW - KEPT_OF_LOST_WORKER - SECOND
    keep(reported(host), run="over", now=NOW - KEPT_OLD_RUN - SECOND)
    keep(reported(host), run="present")
    keep(reported(host, code="old but of this run"), run="present", now=NOW - KEPT_OLD_RUN)
    keep(reported(host, upstream_id=str(uuid.uuid4())), run="present")
    for worker_id, moment in (("lost", long_ago), ("away", NOW)):
        keep_counts(worker_id=worker_id, run="r", failures=[reported(host)], now=moment)
    assert forget_counts(now=NOW) == 3
    left = FailureCount.objects.order_by("pk").values_list("worker_id", "run", "code")
    assert list(left) == [
        ("edge:1", "present", CODE),
        ("edge:1", "present", "old but of this run"),
        ("away", "r", CODE),
    ]
