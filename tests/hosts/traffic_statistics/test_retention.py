"""What becomes of samples: nothing is lost or counted twice, and what is old goes."""

import random
import uuid
from collections import Counter

import pytest

from hosts.tasks import prune_traffic_samples, unite_traffic_samples
from hosts.traffic_statistics import retention
from hosts.traffic_statistics.models import ALL_HOSTS, TrafficSample
from hosts.traffic_statistics.retention import condense, forget_traffic_of_gone_hosts, unite_sources
from hosts.traffic_statistics.windows import DAY_S, HOUR_S
from tests.hosts.examples import make_host
from tests.hosts.traffic_statistics.examples import NOW_S, minute, told

pytestmark = pytest.mark.django_db

HOST = uuid.UUID(int=7)
OTHER = uuid.UUID(int=8)


def rows() -> list[tuple[int, int, str, int]]:
    """Of HOST: span, begin, source, how many."""
    found = TrafficSample.objects.filter(host_id=HOST).order_by("span_s", "start_s", "source")
    return [(row.span_s, row.start_s - NOW_S, row.source, row.successes) for row in found]


def minutes_of(run: str, *starts_s: int, at_s: float, **counts: int) -> None:
    """A worker tells of HOST, and of all hosts."""
    for start_s in starts_s:
        everything = minute("", start_s, generation=0, **counts)
        told(everything, minute(HOST, start_s, **counts), run=run, at_s=at_s)


def test_workers_are_united_once_they_cannot_tell_it_again() -> None:
    """A later word of the same run says that it heard; one that ended is waited for, for an hour."""
    minutes_of("one", NOW_S, at_s=NOW_S + 58, successes=3)
    minutes_of("one", NOW_S + 60, at_s=NOW_S + 90, successes=1)
    minutes_of("two", NOW_S, at_s=NOW_S + 59, successes=4)
    assert unite_sources(now_s=NOW_S + 200) == 0
    unite_sources(now_s=NOW_S + 400)
    assert rows() == [(60, 0, "", 3), (60, 0, "two.0", 4), (60, 60, "one.0", 1)]
    minutes_of("two", NOW_S, at_s=NOW_S + 500, successes=6)  # the answer to the first report had been lost
    minutes_of("two", NOW_S + 60, at_s=NOW_S + 500, successes=1)
    unite_sources(now_s=NOW_S + 501)
    assert rows() == [(60, 0, "", 3), (60, 0, "two.0", 6), (60, 60, "one.0", 1), (60, 60, "two.0", 1)]
    minutes_of("two", NOW_S + 120, at_s=NOW_S + 502, successes=1)
    unite_sources(now_s=NOW_S + 503)
    assert rows()[0] == (60, 0, "", 9)
    unite_sources(now_s=NOW_S + HOUR_S + 600)
    assert rows() == [(60, 0, "", 9), (60, 60, "", 2), (60, 120, "", 1)]


def test_minutes_become_ten_minutes_become_hours_become_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All hosts together have theirs for longer; whatever is there adds up to what was told, cut off or not."""
    monkeypatch.setattr(retention, "HOSTS", 1)
    monkeypatch.setattr("hosts.traffic_statistics.recording.OLDEST_S", 30 * DAY_S)
    chance = random.Random(3)
    wanted = Counter[uuid.UUID]()
    for start_s in range(NOW_S - 2 * DAY_S, NOW_S, 600):
        for host_id in (HOST, OTHER):
            count = chance.randint(1, 50)
            told(minute(host_id, start_s, successes=count), minute(host_id, start_s + 60, upto_1_ms=1), at_s=NOW_S)
            wanted[host_id] += count
        told(minute("", start_s, generation=0, successes=1), at_s=NOW_S)
    unite_sources(now_s=NOW_S + HOUR_S + 1)
    for now_s in (NOW_S - DAY_S, NOW_S, NOW_S, NOW_S + 300):
        condense(now_s=now_s)
        for host_id, count in wanted.items():
            assert sum(TrafficSample.objects.filter(host_id=host_id).values_list("successes", flat=True)) == count
    spans = Counter(TrafficSample.objects.filter(host_id=HOST).values_list("span_s", flat=True))
    assert spans == {3600: 23, 600: 138 - 0, 60: 24}
    of_all = Counter(TrafficSample.objects.filter(host_id=ALL_HOSTS).values_list("span_s", flat=True))
    assert of_all == {600: 138, 60: 150}
    condense(now_s=NOW_S + 8 * DAY_S)
    condense(now_s=NOW_S + 8 * DAY_S)
    assert not TrafficSample.objects.exists()


def test_hosts_that_are_gone_take_their_samples_along() -> None:
    """Those that exist, and all together, keep theirs."""
    host = make_host()
    told(minute(host.pk, NOW_S, successes=1), minute(HOST, NOW_S, successes=1), minute("", NOW_S, successes=1))
    assert forget_traffic_of_gone_hosts() == 1
    assert set(TrafficSample.objects.values_list("host_id", flat=True)) == {host.pk, ALL_HOSTS}


def test_the_periodic_work_may_run_any_time() -> None:
    """Also twice, also with nothing to do."""
    for task in (unite_traffic_samples, prune_traffic_samples) * 2:
        task()
    assert not TrafficSample.objects.exists()
