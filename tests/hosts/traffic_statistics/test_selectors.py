"""How much traffic there was."""

import uuid

import pytest
from pytest_django import DjangoAssertNumQueries

from hosts.traffic_statistics.retention import condense, unite_sources
from hosts.traffic_statistics.selectors import current_rates, fleet_series, host_series, sparklines
from hosts.traffic_statistics.windows import DAY_S, HOUR_S, Window
from tests.hosts.traffic_statistics.examples import NOW_S, minute, told

pytestmark = pytest.mark.django_db

HOST = uuid.UUID(int=7)
OTHER = uuid.UUID(int=8)


def test_a_series_has_every_step(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Of all workers and generations together; the step that runs has the rate of what has run of it."""
    told(minute(HOST, NOW_S, successes=25, server_errors=5, handshakes=4, handshake_failures=1, upto_10_ms=30))
    told(minute(HOST, NOW_S, generation=2, refusals=3, client_errors=2, upstream_failures=1), run="another")
    told(minute(HOST, NOW_S - 60, successes=60), minute(OTHER, NOW_S, successes=900))
    with django_assert_num_queries(1):
        series = host_series(HOST, Window.HOUR, now_s=NOW_S + 20.0)
    before, last = series.points[-2:]
    assert (len(series.points), before.requests_per_s, before.error_rate, before.p99_ms) == (60, 1.0, 0.0, None)
    assert (last.requests, last.length_s, last.requests_per_s) == (35, 20.0, 1.75)
    assert (last.client_errors, last.server_errors, last.error_rate) == (5, 5, 5 / 35)
    assert (last.upstream_failures, last.handshakes, last.handshake_failures) == (1, 4, 1)
    assert (last.p50_ms, last.p99_ms) == (7.5, 9.95)
    assert series.points[0].requests == 0
    assert series.points[0].error_rate is None
    assert (series.total.requests, sum(row.requests for row in series.rows)) == (95, 95)


def test_what_was_summed_up_is_the_same(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Before, while and after; the windows agree with each other."""
    for ago_s in range(0, DAY_S - HOUR_S, 300):
        told(minute("", NOW_S - ago_s, generation=0, successes=3, upto_5_ms=3), at_s=NOW_S)
    whole = (DAY_S - HOUR_S) // 300 * 3
    for _ in range(2):
        for window in (Window.DAY, Window.WEEK):
            with django_assert_num_queries(1):
                series = fleet_series(window, now_s=NOW_S + 30.0)
            assert series.total.requests == whole
            assert series.total.p50_ms == 3.5
        assert fleet_series(Window.HOUR, now_s=NOW_S + 30.0).total.requests == 36
        unite_sources(now_s=NOW_S + 2 * HOUR_S)
        condense(now_s=NOW_S)


def test_a_page_of_a_list_asks_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """However many hosts are on it, with traffic or without."""
    told(minute(HOST, NOW_S - 60, successes=300, server_errors=100))
    hosts = [HOST, *(uuid.UUID(int=number) for number in range(100, 149))]
    with django_assert_num_queries(1):
        found = sparklines(hosts, now_s=float(NOW_S))
    assert list(found) == hosts
    assert (found[HOST].requests, found[HOST].error_rate, len(found[HOST].requests_per_s)) == (400, 0.25, 144)
    assert max(found[HOST].requests_per_s) == round(400 / 600, 3)
    assert (found[hosts[1]].requests, found[hosts[1]].error_rate) == (0, None)


def test_what_goes_on_now_is_the_last_whole_minute() -> None:
    """Of all workers; nothing is known of it when nobody told."""
    assert (current_rates(now_s=NOW_S + 59.0).requests, current_rates(now_s=NOW_S + 59.0).error_rate) == (0, None)
    for run in ("one", "two"):
        told(minute("", NOW_S - 60, generation=0, successes=60), minute(HOST, NOW_S - 60, successes=60), run=run)
    assert current_rates(now_s=NOW_S + 59.0).requests_per_s == 2.0
