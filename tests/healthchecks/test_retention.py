"""retention: what is summed up, and what is forgotten of the history."""

import datetime
import uuid
from typing import Any

import pytest
from django.db.models import QuerySet, Sum

from healthchecks import retention
from healthchecks.models import HealthSummary, HealthTransition
from healthchecks.retention import KEPT_HOURS_S, condense, forget_history_of_gone_upstreams
from healthchecks.summaries import store
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import NOW, checked, checked_host

pytestmark = pytest.mark.django_db

NOW_S = 1_800_000_000
DAY_S = 86_400


def minutes(*ages_s: int, **values: Any) -> None:
    """A minute of each age with six checks, of each upstream."""
    upstream_ids = [upstream.pk for upstream in checked_host(upstreams=UPSTREAMS).upstreams.all()]
    counted = {"count": 6, "failures": 1, "total_ms": 50, "min_ms": 2, "max_ms": 30, "codes": {"timeout": 1}, **values}
    store(
        HealthSummary(upstream_id=upstream_id, span_s=60, start_s=NOW_S - age_s, **counted)
        for upstream_id in upstream_ids
        for age_s in ages_s
    )


UPSTREAMS = [UpstreamSpec(address="10.0.0.7", port=port) for port in (1, 2)]


def shape() -> list[tuple[int, int, int]]:
    """Span, age and count of the rows of one upstream, the youngest first."""
    first = HealthSummary.objects.order_by("upstream").values("upstream")[:1]
    rows = HealthSummary.objects.filter(upstream=first).order_by("-start_s")
    return [(row.span_s, NOW_S - row.start_s, row.count) for row in rows]


def test_minutes_become_ten_minutes_and_these_hours() -> None:
    """By age; each keeps all that it counted, and doing it again changes nothing."""
    minutes(0, 3600, 7200, 7260, 7320, 8 * DAY_S, 8 * DAY_S + 600)
    assert condense(now_s=NOW_S) > 0
    found = [
        (60, 0, 6),
        (60, 3600, 6),
        (60, 7200, 6),
        (600, 7800, 12),
        (3600, 8 * DAY_S, 6),
        (3600, 8 * DAY_S + 3600, 6),
    ]
    assert shape() == found
    assert condense(now_s=NOW_S) == 0
    assert shape() == found
    row = HealthSummary.objects.filter(span_s=600)[0]
    assert (row.failures, row.total_ms, row.min_ms, row.max_ms, row.codes) == (2, 100, 2, 30, {"timeout": 2})


def test_what_comes_later_is_added() -> None:
    """To the row that is there."""
    minutes(7260)
    condense(now_s=NOW_S)
    upstream_id = HealthSummary.objects.values_list("upstream", flat=True)[0]
    late = HealthSummary(upstream_id=upstream_id, span_s=60, start_s=NOW_S - 7320, count=1, min_ms=1, max_ms=1)
    store([late])
    condense(now_s=NOW_S)
    row = HealthSummary.objects.get(upstream=upstream_id)
    assert (row.span_s, row.count, row.min_ms, row.max_ms, row.codes) == (600, 7, 1, 30, {"timeout": 1})


def test_hours_are_kept_for_a_month() -> None:
    """Changes of state stay."""
    checked_host(unhealthy_after=1)
    for days in (1, 30, 32, 40):
        checked(NOW - datetime.timedelta(days=days), is_ok=False)
    changes = HealthTransition.objects.count()
    condense(now_s=NOW.timestamp())
    assert HealthSummary.objects.count() == 2
    assert not HealthSummary.objects.filter(start_s__lt=NOW.timestamp() - KEPT_HOURS_S).exists()
    assert HealthTransition.objects.count() == changes


def test_every_batch_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many upstreams there are, and however much was left undone."""
    monkeypatch.setattr(retention, "UPSTREAMS", 1)
    minutes(*range(7260, 5 * DAY_S, 6 * 3600))
    total = HealthSummary.objects.aggregate(total=Sum("count"))
    condense(now_s=NOW_S)
    assert set(HealthSummary.objects.values_list("span_s", flat=True)) == {600}
    assert HealthSummary.objects.aggregate(total=Sum("count")) == total


def test_of_two_that_sum_up_one_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that another transaction has taken meanwhile are not counted again."""
    minutes(7260, 7320)
    before = shape()
    delete = QuerySet.delete

    def too_late(rows: Any) -> Any:
        count, kinds = delete(rows)
        return count - 1, kinds

    monkeypatch.setattr(QuerySet, "delete", too_late)
    condense(now_s=NOW_S)
    monkeypatch.undo()
    assert shape() == before


def test_what_upstreams_left_behind_goes() -> None:
    """That of others stays."""
    checked_host(unhealthy_after=1)
    checked(NOW, is_ok=False)
    HealthTransition.objects.create(upstream_id=uuid.uuid4(), at=NOW, previous="unknown", state="healthy")
    HealthSummary.objects.create(upstream_id=uuid.uuid4(), span_s=60, start_s=NOW_S)
    assert forget_history_of_gone_upstreams() == 2
    assert (HealthTransition.objects.count(), HealthSummary.objects.count()) == (1, 1)
