"""The database stays bounded, however long checks are done."""

import datetime
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.forms.models import model_to_dict

from healthchecks import retention
from healthchecks.models import HealthSummary
from hosts.models import Host, Upstream
from hosts.specs import UpstreamSpec
from tests.healthchecks.examples import checked, checked_host
from tests.healthchecks.month import CHECKS_A_MINUTE, CODE, durations_ms, minute, simulate
from tests.hosts.examples import make_host

BEGIN_S = 1_799_971_200  # midnight


def recorded(kind: int, start_s: int) -> None:
    for number, duration_ms in enumerate(durations_ms(kind)):
        at = datetime.datetime.fromtimestamp(start_s + 10 * number, tz=datetime.UTC)
        failed: dict[str, Any] = {"is_ok": False, "code": CODE} if kind < 0 else {}
        checked(at, duration_ms=duration_ms, **failed)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [-1, 5])
def test_simulated_rows_are_those_that_recording_writes(kind: int) -> None:
    """To the column."""
    upstream_id = checked_host().upstreams.get().pk
    recorded(kind, BEGIN_S)
    [row] = HealthSummary.objects.all()
    assert row.count == CHECKS_A_MINUTE
    expected = minute(upstream_id, kind=kind, start_s=BEGIN_S)
    assert model_to_dict(row, exclude=["id"]) == model_to_dict(expected, exclude=["id"])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="weeks are simulated in SQLite")
@pytest.mark.django_db
def test_rows_of_an_upstream_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each span has been kept for its time, here a day and three; all that was counted in it is there."""
    day_s = 86_400
    minutes, ten_minutes = retention.STEPS
    monkeypatch.setattr(retention, "STEPS", (minutes, replace(ten_minutes, kept_s=day_s)))
    monkeypatch.setattr(retention, "KEPT_HOURS_S", 3 * day_s)
    upstream_id = make_host().upstreams.get().pk
    found = list(simulate([upstream_id], days=4, begin_s=BEGIN_S, measured=(3, 4)))
    assert [size.summaries for size in found] == [120 + 22 * 6 + 2 * 24] * 2
    assert sum(HealthSummary.objects.values_list("count", flat=True)) == 3 * day_s // 10


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.django_db(transaction=True)
def test_a_month_of_five_hundred_upstreams(capsys: pytest.CaptureFixture[str]) -> None:
    """The file grows by hours after a week, and after a month only by changes of state."""
    upstreams = [UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, 101)]
    for number in range(5):
        make_host(f"host-{number}", upstreams=upstreams)
    assert Host.objects.count() == 5
    upstream_ids = list(Upstream.objects.values_list("pk", flat=True))
    # What it costs to wait for the disk is not asked here.
    connection.cursor().execute("PRAGMA synchronous = OFF")
    found = []
    for size in simulate(upstream_ids, days=35, begin_s=BEGIN_S, measured=(1, 7, 14, 21, 30, 35)):
        found.append(size)
        with capsys.disabled():
            print(f"\n{size}", end="")  # noqa: T201
    *_, month, last = found
    assert last.megabytes < month.megabytes * 1.1
    assert last.summaries <= 500 * (120 + 7 * 144 + 25 * 24)
