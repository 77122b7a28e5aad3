"""The metrics of several workers as those of one."""

import math
import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxyworker.merged_metrics import MergedMetrics


def document(*, requests: int = 0, connections: int = 0, generation: int = 0, expires: float = 0.0) -> bytes:
    """What a worker tells."""
    registry = CollectorRegistry()
    counter = Counter("aegis_requests", "Requests.", ["host"], registry=registry)
    counter.labels(host='a "b" \\ c').inc(requests)
    histogram = Histogram("aegis_duration_seconds", "Time.", buckets=(1.0,), registry=registry)
    for _ in range(requests):
        histogram.observe(0.5)
    Gauge("aegis_client_connections", "Open.", registry=registry).set(connections)
    Gauge("aegis_configuration_generation", "Generation.", registry=registry).set(generation)
    Gauge("aegis_hosts_rejected", "Rejected.", registry=registry).set(generation)
    Gauge("aegis_certificate_not_after_seconds", "End.", ["host"], registry=registry).labels("h").set(expires)
    Gauge("aegis_health_feed_age_seconds", "Age.", registry=registry).set(float("inf") if generation == 7 else 1)
    Gauge("aegis_health_feed_is_current", "Current.", registry=registry).set(generation != 7)
    Gauge("aegis_odd", "Unknown.", registry=registry).set(connections)
    Gauge("aegis_odd_by_host", "Unknown.", ["host"], registry=registry).labels("h").set(connections)
    text: bytes = generate_latest(registry)
    return b"".join(line for line in text.splitlines(keepends=True) if b"_created" not in line)


def values(merged: bytes) -> dict[str, float]:
    """Every sample as a Prometheus server reads it."""
    families = list(text_string_to_metric_families(merged.decode()))
    assert len({family.name for family in families}) == len(families)
    return {
        f"{s.name} {' '.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}".strip(): s.value
        for family in families
        for s in family.samples
    }


def test_counters_and_histograms_are_added_up() -> None:
    """Labels and all, whatever stands in them."""
    merged = MergedMetrics().merge(
        {"1-10": ("1", document(requests=2)), "2-11": ("2", document(requests=40))}, living=("1-10", "2-11")
    )
    found = values(merged)
    assert found['aegis_requests_total host=a "b" \\ c'] == 42
    assert found["aegis_duration_seconds_bucket le=1.0"] == found["aegis_duration_seconds_count"] == 42
    assert found["aegis_duration_seconds_sum"] == 21


def test_gauges_are_added_up_or_the_worst_or_labelled() -> None:
    """Connections are added; of generation, refusals and expiry the worst is shown; unknown ones keep the worker."""
    first = document(connections=1, generation=7, expires=100.0)
    second = document(connections=2, generation=6, expires=50.0)
    found = values(MergedMetrics().merge({"1-10": ("1", first), "2-11": ("2", second)}, living=("1-10", "2-11")))
    assert found["aegis_client_connections"] == 3
    assert found["aegis_configuration_generation"] == 6
    assert found["aegis_hosts_rejected"] == 7
    assert (found["aegis_health_feed_age_seconds"], found["aegis_health_feed_is_current"]) == (math.inf, 0)
    assert found["aegis_certificate_not_after_seconds host=h"] == 50
    assert (found["aegis_odd worker=1"], found["aegis_odd worker=2"]) == (1, 2)
    assert (found["aegis_odd_by_host host=h worker=1"], found["aegis_odd_by_host host=h worker=2"]) == (1, 2)


def test_a_sum_never_falls() -> None:
    """Neither when a worker does not answer, nor when it was started again, once or often; its gauges do not stay."""
    merged = MergedMetrics()
    one = ("1", document(requests=10, connections=5))

    def total(answers: dict[str, tuple[str, bytes]], *living: str) -> tuple[float, float | None]:
        found = values(merged.merge(answers, living=living))
        return found['aegis_requests_total host=a "b" \\ c'], found.get("aegis_client_connections")

    assert total({"1-10": one, "2-11": ("2", document(requests=5))}, "1-10", "2-11") == (15, 5)
    assert total({"1-10": one}, "1-10", "2-11") == (15, 5)
    assert total({"1-10": one, "2-11": ("2", document(requests=6))}, "1-10", "2-11") == (16, 5)
    assert total({"1-10": one}, "1-10") == (16, 5)
    assert total({"1-10": one, "2-12": ("2", document(requests=1))}, "1-10", "2-12") == (17, 5)
    assert total({"2-12": ("2", document(requests=2))}, "2-12") == (18, 0)
    assert total({}) == (18, None)


def test_before_any_worker_has_answered_there_is_nothing() -> None:
    """No metric is made up."""
    assert MergedMetrics().merge({}, living=()) == b""


def test_infinity_is_spelt_as_prometheus_reads_it() -> None:
    """Go's spelling, not Python's."""
    odd = b"# TYPE aegis_odd gauge\naegis_odd +Inf\n# TYPE aegis_other gauge\naegis_other NaN\n"
    merged = MergedMetrics().merge({"1-10": ("1", odd)}, living=("1-10",))
    assert b'aegis_odd{worker="1"} +Inf\n' in merged
    assert math.isnan(values(merged)["aegis_other worker=1"])


def test_ten_thousand_hosts_are_merged_in_seconds() -> None:
    """A line costs a few microseconds, so that the longest scrape fits into Prometheus's ten seconds."""
    lines = b"".join(b'aegis_requests_total{host="h%d",status="2xx"} 1.0\n' % number for number in range(50_000))
    big = b"# TYPE aegis_requests_total counter\n" + lines
    started_s = time.process_time()
    MergedMetrics().merge({"1-10": ("1", big), "2-11": ("2", big)}, living=("1-10", "2-11"))
    assert time.process_time() - started_s < 3


@pytest.mark.parametrize("requests", [0, 3])
def test_one_worker_alone_is_what_it_told(requests: int) -> None:
    """Counts pass through unchanged."""
    alone = values(document(requests=requests))
    merged = values(MergedMetrics().merge({"1-10": ("1", document(requests=requests))}, living=("1-10",)))
    assert {key: merged[key] for key in alone if "odd" not in key} == {
        key: value for key, value in alone.items() if "odd" not in key
    }
