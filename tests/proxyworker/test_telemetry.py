"""What the worker counts, logs and shows."""

import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxyworker.errors import Phase, UpstreamError
from proxyworker.net.route import HostRoute, Target
from proxyworker.policy.balancing import RoundRobin
from proxyworker.telemetry import BUCKETS_S, LOG_EVERY_S, WorkerTelemetry

ROUTE = HostRoute(host_id="h", name='or"ders\\', preserve_host=False, balancer=RoundRobin([]))
TARGET = Target(upstream_id="u", label="https://10.0.0.7:9443", authority=b"a", pool=None)  # type: ignore[arg-type]
ERROR = UpstreamError(phase=Phase.TLS, code="expired", reason="x509: certificate has expired or is not yet valid")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Stands still."""
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> WorkerTelemetry:
    """With one gauge."""
    return WorkerTelemetry(clock=clock, gauges=lambda: {"aegis_client_connections": 3})


def samples(telemetry: WorkerTelemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    """All values by name and label values in the order of the labels' names, as a Prometheus server reads them."""
    families = text_string_to_metric_families(telemetry.render().decode())
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_exposition_is_what_prometheus_reads(telemetry: WorkerTelemetry) -> None:
    """Counters by host and class, failures by code, refusals by status, gauges as they are; names are escaped."""
    telemetry.exchange_done(ROUTE, 200, 0.003)
    telemetry.exchange_done(ROUTE, 204, 0.02)
    telemetry.exchange_done(ROUTE, 502, 99.0)
    telemetry.exchange_done(None, 404, 0.0)
    telemetry.upstream_failed(ROUTE, TARGET, ERROR, b"id")
    telemetry.client_refused(431, "too long")
    values = samples(telemetry)
    assert values["aegis_requests_total", (ROUTE.name, "2xx")] == 2
    assert values["aegis_requests_total", (ROUTE.name, "5xx")] == 1
    assert values["aegis_requests_total", ("", "4xx")] == 1
    assert values["aegis_upstream_failures_total", ("expired", ROUTE.name)] == 1
    assert values["aegis_client_refusals_total", ("431",)] == 1
    assert values["aegis_client_connections", ()] == 3


def test_durations_are_a_cumulative_histogram(telemetry: WorkerTelemetry) -> None:
    """Bounds are inclusive; everything is in +Inf."""
    for duration_s in (BUCKETS_S[0], 0.02, 99.0):
        telemetry.exchange_done(ROUTE, 200, duration_s)
    values = samples(telemetry)
    buckets = [values["aegis_request_duration_seconds_bucket", (bound,)] for bound in (*map(str, BUCKETS_S), "+Inf")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[2], buckets[-2], buckets[-1]) == (1, 2, 2, 3)
    assert values["aegis_request_duration_seconds_count", ()] == 3
    assert values["aegis_request_duration_seconds_sum", ()] == pytest.approx(99.025)


def test_nothing_happened_yet(telemetry: WorkerTelemetry) -> None:
    """A scrape right after the start is valid too."""
    assert samples(telemetry)["aegis_request_duration_seconds_count", ()] == 0


def test_a_broken_upstream_does_not_fill_the_log(
    telemetry: WorkerTelemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at most in LOG_EVERY_S for each host and code, with the number left out."""
    with caplog.at_level(logging.WARNING, "aegis.proxy"):
        for _ in range(10):
            telemetry.upstream_failed(ROUTE, TARGET, ERROR, b"id-1")
        other = UpstreamError(phase=Phase.CONNECT, code="connection_refused", reason="r")
        telemetry.upstream_failed(ROUTE, TARGET, other, b"id-2")
        clock.now += LOG_EVERY_S
        telemetry.upstream_failed(ROUTE, TARGET, ERROR, b"id-3")
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert "upstream=https://10.0.0.7:9443 phase=tls code=expired request_id=id-1: x509: certificate has" in messages[0]
    assert messages[2].endswith("(9 more since the last line)")


class CountedTunnel:
    """Of a tunnel what is counted."""

    def __init__(self) -> None:
        self.route = ROUTE
        self.bytes_to_client = 0
        self.bytes_to_upstream = 0


def test_tunnels_are_counted_while_they_are_open(telemetry: WorkerTelemetry) -> None:
    """Bytes at each scrape and never twice; closed ones count on, and the gauge goes back to zero."""
    first, second = CountedTunnel(), CountedTunnel()
    telemetry.tunnel_opened(first)  # type: ignore[arg-type]
    telemetry.tunnel_opened(second)  # type: ignore[arg-type]
    for open_count in (2, 1, 0):
        if open_count:
            first.bytes_to_client += 10
            second.bytes_to_upstream += 3
        values = samples(telemetry)
        assert values["aegis_websocket_connections", (ROUTE.name,)] == open_count
        if open_count:
            telemetry.tunnel_closed(first if open_count == 2 else second)  # type: ignore[arg-type]
    values = samples(telemetry)
    assert values["aegis_websocket_bytes_total", ("to_client", ROUTE.name)] == 10
    assert values["aegis_websocket_bytes_total", ("to_upstream", ROUTE.name)] == 6
