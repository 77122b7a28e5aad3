"""What the workers tell of their traffic is written down."""

import uuid

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hosts.traffic_statistics.models import ALL_HOSTS, TrafficSample
from hosts.traffic_statistics.recording import NEWEST_S, OLDEST_S
from hosts.traffic_statistics.selectors import current_rates
from hosts.worker_feed import DatabaseFeed
from proxyworker.snapshot import MAX_REPORTED_TRAFFIC, TRAFFIC_COLUMNS, WorkerReport
from tests.hosts.traffic_statistics.examples import NOW_S, minute, told

pytestmark = pytest.mark.django_db

HOST = uuid.UUID(int=7)


def test_columns_are_those_of_the_snapshot() -> None:
    """In any order, none more and none less."""
    columns = {field.name for field in TrafficSample._meta.concrete_fields}
    assert columns - set(TRAFFIC_COLUMNS) == {
        *("id", "host_id", "span_s", "start_s", "source", "generation", "reported_at")
    }
    assert set(TRAFFIC_COLUMNS) <= columns


def test_a_report_takes_the_place_of_the_one_before(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """However often it comes; other runs, parts and generations are other rows."""
    told(minute(HOST, NOW_S, successes=2))
    with django_assert_num_queries(3):  # one between the bounds of its transaction
        told(minute(HOST, NOW_S, successes=5, server_errors=1), minute("", NOW_S, generation=0, successes=6))
    told(minute(HOST, NOW_S, successes=5, server_errors=1))
    told(minute(HOST, NOW_S, successes=1), run="another")
    told(minute(HOST, NOW_S, part=1, successes=1), minute(HOST, NOW_S, generation=2, successes=1))
    rows = TrafficSample.objects.filter(host_id=HOST).order_by("pk")
    assert list(rows.values_list("successes", "server_errors")) == [(5, 1), (1, 0), (1, 0), (1, 0)]
    assert TrafficSample.objects.get(host_id=ALL_HOSTS).successes == 6


def test_what_cannot_be_is_passed_over() -> None:
    """A clock that is far off, an identifier that is none, more rows than a report has, numbers beyond the column."""
    told(
        minute(HOST, NOW_S - OLDEST_S - 60, successes=1),
        minute(HOST, NOW_S + NEWEST_S + 60, successes=1),
        minute("not a host", NOW_S, successes=1),
        minute(HOST, NOW_S, successes=2**40),
    )
    assert not TrafficSample.objects.exists()
    told(*(minute(uuid.UUID(int=number), NOW_S, successes=1) for number in range(1, MAX_REPORTED_TRAFFIC + 9)))
    assert TrafficSample.objects.count() == MAX_REPORTED_TRAFFIC


def test_a_report_of_a_worker_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the feed that the worker has."""
    monkeypatch.setattr("hosts.worker_feed.close_old_connections", lambda: None)
    now_s = int(timezone.now().timestamp()) // 60 * 60
    traffic = (minute("", now_s - 60, generation=0, successes=30, server_errors=30),)
    DatabaseFeed().record_report(WorkerReport(worker_id="w", generation=1, accepted=1, run="r", traffic=traffic))
    rates = current_rates(now_s=now_s + 1.0)
    assert (rates.requests, rates.requests_per_s, rates.error_rate) == (60, 1.0, 0.5)
