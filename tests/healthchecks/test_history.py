"""history: how upstreams stood and answered over a time."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from healthchecks import history
from healthchecks.claims import synchronise
from healthchecks.history import UPTIME_PERIODS, Period, Range, points_of, stretches_of, uptimes
from healthchecks.models import UpstreamHealth
from hosts.models import Host
from hosts.services import update_host
from hosts.specs import HostSpec, UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host

pytestmark = pytest.mark.django_db

HOUR = 3600.0


def ago(**time: float) -> datetime.datetime:
    return NOW - datetime.timedelta(**time)


def stood(host: Host, *, since: datetime.datetime, until: datetime.datetime = NOW) -> list[tuple[str, float]]:
    upstream_id = host.upstreams.get().pk
    standing = UpstreamHealth.objects.in_bulk([upstream_id])
    found = stretches_of([upstream_id], standing, since=since, until=until)[upstream_id]
    return [(stretch.state.value, stretch.seconds) for stretch in found]


def switch(host: Host, *, enabled: bool) -> None:
    update_host(host=host, spec=HostSpec(sections={"health_check": {"enabled": enabled}}), user=None)


def test_a_check_that_was_switched_off_leaves_no_data() -> None:
    """For the time that it was off; what was before stays as it was."""
    host = checked_host(healthy_after=1, interval_s=3600)
    checked(ago(hours=10))
    switch(host, enabled=False)
    synchronise(now=ago(hours=9))
    switch(host, enabled=True)
    checked(ago(hours=1))
    expected = [("unknown", HOUR), ("healthy", HOUR), ("unknown", 8 * HOUR), ("healthy", HOUR)]
    assert stood(host, since=ago(hours=11)) == expected
    # What was asked for long ago is answered in the same way.
    assert stood(host, since=ago(hours=9.5), until=ago(hours=8)) == [("healthy", HOUR / 2), ("unknown", HOUR)]


def test_checks_that_have_stopped_speak_for_a_while() -> None:
    """For three intervals and a little; then nobody knows."""
    host = checked_host(healthy_after=1, interval_s=5, timeout_s=1)
    checked(ago(hours=1))
    assert stood(host, since=ago(hours=1)) == [("healthy", 30), ("unknown", HOUR - 30)]


def test_uptime_goes_on_over_a_restart() -> None:
    """The time without checks counts for nothing."""
    host = checked_host(healthy_after=1, unhealthy_after=1, interval_s=5, timeout_s=1)
    checked(ago(minutes=60))
    checked(ago(minutes=30))
    checked(ago(minutes=30) + datetime.timedelta(seconds=10), is_ok=False)
    upstream_id = host.upstreams.get().pk
    standing = UpstreamHealth.objects.in_bulk([upstream_id])
    since = NOW - max(UPTIME_PERIODS.values())
    found = uptimes(stretches_of([upstream_id], standing, since=since, until=NOW)[upstream_id], now=NOW)
    assert (found["last_24h"].known_s, found["last_24h"].percent) == (70, 57.142)
    assert found["last_30d"] == found["last_24h"]


def test_of_too_many_changes_the_newest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was before is unknown, and not made up."""
    monkeypatch.setattr(history, "MAX_CHANGES", 2)
    host = checked_host(healthy_after=1, unhealthy_after=1, interval_s=10)
    for seconds in (40, 30, 20, 10):
        checked(ago(seconds=seconds), is_ok=seconds % 20 == 0)
    assert stood(host, since=ago(seconds=60)) == [("unknown", 40), ("healthy", 10), ("unhealthy", 10)]


@pytest.mark.parametrize("range_", list(Range))
def test_a_range_is_bounded(range_: Range) -> None:
    """At most 180 steps."""
    assert range_.length.total_seconds() / range_.step_s <= 180


def test_points() -> None:
    """By steps, the oldest first, of what lies in the period."""
    host = checked_host()
    upstream_id = host.upstreams.get().pk
    for hours in (30, 23.5, 1, 0.9, 0):
        checked(ago(hours=hours))
    day = Period.ending(None, range_=Range.DAY, now=NOW)
    found = points_of([upstream_id], day)[upstream_id]
    assert sum(point.count for point in found) == 4
    assert [point.start_s % 600 for point in found] == [0] * len(found)
    assert found == sorted(found, key=lambda point: point.start_s)
    past = Period.ending(ago(hours=24), range_=Range.DAY, now=NOW)
    assert [point.count for point in points_of([upstream_id], past)[upstream_id]] == [1]


def test_a_period_ends_now_at_the_latest() -> None:
    """And never before there was any Aegis."""
    future = NOW + datetime.timedelta(days=1)
    assert Period.ending(future, range_=Range.HOUR, now=NOW).until == NOW
    first = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    assert Period.ending(first, range_=Range.MONTH, now=NOW).until.year == 2020


def test_the_number_of_queries_does_not_grow() -> None:
    """With upstreams and with what happened to them."""

    def queries(count: int) -> int:
        upstreams = [UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, count + 1)]
        host = checked_host(f"host-{count}", upstreams=upstreams, unhealthy_after=1)
        for hours in range(count):
            checked(ago(hours=hours), is_ok=False)
        ids = [upstream.pk for upstream in host.upstreams.all()]
        standing = UpstreamHealth.objects.in_bulk(ids)
        with CaptureQueriesContext(connection) as captured:
            stretches_of(ids, standing, since=ago(days=30), until=NOW)
            points_of(ids, Period.ending(None, range_=Range.MONTH, now=NOW))
        return len(captured)

    assert queries(1) == queries(8) == 4
