"""summaries: how checks are counted."""

import datetime
from typing import Any

import pytest

from healthchecks.models import HealthSummary
from healthchecks.summaries import BOUNDS_MS, HISTOGRAM, count_check, count_checks
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked_host, outcome

MINUTE = NOW.replace(second=0, microsecond=0)


def counted(*durations_ms: int, failed: tuple[str, ...] = ()) -> HealthSummary:
    row = HealthSummary(span_s=60, start_s=0)
    for duration_ms in durations_ms:
        count_check(row, is_ok=True, duration_ms=duration_ms, code="")
    for code in failed:
        count_check(row, is_ok=False, duration_ms=1, code=code)
    return row


def test_columns_and_bounds_are_the_same() -> None:
    """A bound has the column that names it, and every column exists."""
    assert [name for name in HISTOGRAM if name != "slower"] == [f"upto_{bound}_ms" for bound in BOUNDS_MS]
    columns = {field.name for field in HealthSummary._meta.get_fields()}
    assert {name for name in columns if name.startswith("upto_") or name == "slower"} == set(HISTOGRAM)


def test_durations_are_those_of_checks_that_went_well() -> None:
    """Failures are counted by their codes."""
    row = counted(2, 3, 2000, failed=("timeout", "timeout", "reset"))
    assert (row.count, row.failures, row.codes) == (6, 3, {"timeout": 2, "reset": 1})
    assert (row.min_ms, row.max_ms, row.total_ms) == (2, 2000, 2005)
    assert (row.upto_2_ms, row.upto_5_ms, row.slower) == (1, 1, 1)


@pytest.mark.django_db
def test_a_minute_has_one_row(django_assert_num_queries: Any) -> None:
    """Of each upstream; a new minute has a new one. Two queries, one to read and one to write."""
    hosts = [checked_host(name, upstreams=[UpstreamSpec(address="10.0.0.7", port=1)]) for name in ("one", "two")]
    one, two = (host.upstreams.get().pk for host in hosts)
    for seconds in (0, 30, 59):
        at = MINUTE + datetime.timedelta(seconds=seconds)
        with django_assert_num_queries(2):
            count_checks([(one, outcome(at=at)), (two, outcome(at=at, is_ok=False))])
    count_checks([(one, outcome(at=MINUTE + datetime.timedelta(seconds=60)))])
    rows = HealthSummary.objects.order_by("start_s", "failures").values_list("upstream", "span_s", "count", "failures")
    assert list(rows) == [(one, 60, 3, 0), (two, 60, 3, 3), (one, 60, 1, 0)]
