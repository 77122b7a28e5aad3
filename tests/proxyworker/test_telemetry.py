"""What the worker counts, logs and shows."""

import dataclasses
import logging
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.protocol import Protocol

from proxyworker.access_log.log import AccessLog
from proxyworker.errors import Phase, UpstreamError
from proxyworker.failures import LastFailures
from proxyworker.net.downstream import DownstreamConnection
from proxyworker.net.exchange import Exchange
from proxyworker.net.route import HostRoute
from proxyworker.net.telemetry import Record
from proxyworker.net.tunnel import Tunnel
from proxyworker.policy.admission import Refusal
from proxyworker.policy.balancing import Single
from proxyworker.runtime import Expiry
from proxyworker.statistics import BUCKETS_S, TrafficStatistics
from proxyworker.telemetry import LOG_EVERY_S, LOG_REFUSALS_EVERY_S, WorkerTelemetry
from tests.proxyworker.access_log.records import TARGET, record, request
from tests.proxyworker.net.memory import Dialler, MemoryTransport
from tests.proxyworker.net.proxy import MemoryProxy

ROUTE = HostRoute(host_id="h", name='or"ders\\', preserve_host=False, balancer=Single(None))
QUIET_ROUTE = dataclasses.replace(ROUTE, name="quiet", access_log=False)
ERROR = UpstreamError(phase=Phase.TLS, code="expired", reason="x509: certificate has expired or is not yet valid")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Stands still."""
    return Clock()


class Kept(AccessLog):
    """Keeps the records."""

    dropped_count = 7

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)


@pytest.fixture
def access_log() -> Kept:
    """Nothing in it."""
    return Kept()


@pytest.fixture
def failures() -> LastFailures:
    """None yet."""
    return LastFailures(lambda: 1000.0)


@pytest.fixture
def telemetry(clock: Clock, access_log: Kept, failures: LastFailures) -> WorkerTelemetry:
    """With one gauge and one certificate."""
    return WorkerTelemetry(
        clock=clock,
        gauges=lambda: {"aegis_client_connections": 3},
        failures=failures,
        statistics=TrafficStatistics(lambda: 1000.0),
        access_log=access_log,
        expiries=lambda: [Expiry(ROUTE.name, "server", 1_795_512_609.0)],
    )


def done(telemetry: WorkerTelemetry, status: int, duration_s: float, route: HostRoute = ROUTE) -> None:
    """A request was answered."""
    connection = MemoryProxy(Dialler()).client().protocol
    assert isinstance(connection, DownstreamConnection)
    exchange = Exchange(connection, route, request(), request_id=b"1", started_s=100.0, head_bytes=1)
    exchange.bytes_sent, exchange.bytes_to_upstream, exchange.bytes_from_upstream = 20, 300, 4000
    telemetry.exchange_done(exchange, status, 100.0 + duration_s)


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
    done(telemetry, 200, 0.003)
    done(telemetry, 204, 0.02)
    done(telemetry, 502, 99.0)
    telemetry.own_answer(None, record(request(), host="", target=None))
    telemetry.upstream_failed(ROUTE, TARGET, ERROR, b"id")
    telemetry.client_refused(431, "too long")
    telemetry.connection_refused(Refusal.CLIENT)
    telemetry.client_handshake("resumed")
    values = samples(telemetry)
    assert values["aegis_requests_total", (ROUTE.name, "2xx")] == 2
    assert values["aegis_requests_total", (ROUTE.name, "5xx")] == 1
    assert values["aegis_requests_total", ("", "2xx")] == 1
    assert values["aegis_host_request_duration_seconds_total", (ROUTE.name,)] == pytest.approx(99.023)
    assert values["aegis_upstream_failures_total", ("expired", ROUTE.name)] == 1
    assert values["aegis_client_refusals_total", ("431",)] == 1
    assert values["aegis_client_connections_refused_total", ("client",)] == 1
    assert values["aegis_client_connections_refused_total", ("total",)] == 0
    assert values["aegis_client_connections", ()] == 3
    assert values["aegis_certificate_not_after_seconds", (ROUTE.name, "server")] == 1_795_512_609
    assert values["aegis_access_log_dropped_total", ()] == 7
    handshakes = [values["aegis_client_handshakes_total", (result,)] for result in ("full", "resumed", "failed")]
    assert handshakes == [0, 1, 0]
    assert values["process_resident_memory_bytes", ()] > 1_000_000
    assert values["process_open_fds", ()] > 2


def test_bytes_are_counted_by_host_peer_and_direction(telemetry: WorkerTelemetry) -> None:
    """As the worker sees them; its own answers as well."""
    done(telemetry, 200, 0.1)
    done(telemetry, 200, 0.1)
    telemetry.own_answer(ROUTE, record(request(), host=ROUTE.name, target=None))
    values = samples(telemetry)
    name = "aegis_transferred_bytes_total"
    assert values[name, ("in", ROUTE.name, "client")] == 2 * 1 + 120
    assert values[name, ("out", ROUTE.name, "client")] == 2 * 20 + 3456
    assert values[name, ("out", ROUTE.name, "upstream")] == 2 * 300
    assert values[name, ("in", ROUTE.name, "upstream")] == 2 * 4000


def test_handshakes_with_upstreams(telemetry: WorkerTelemetry) -> None:
    """By their result, with the time of those that succeeded; neither plain TCP nor what fails later is one."""
    telemetry.upstream_opened(ROUTE, (0.001, 0.02))
    telemetry.upstream_opened(ROUTE, (0.001, None))
    telemetry.upstream_failed(ROUTE, TARGET, ERROR, b"id")
    telemetry.upstream_failed(ROUTE, TARGET, UpstreamError(phase=Phase.HEAD, code="timeout", reason="r"), b"id")
    values = samples(telemetry)
    handshakes = {
        labels[1]: value
        for (name, labels), value in values.items()
        if name.endswith("handshakes_total") and len(labels) == 2
    }
    assert handshakes == {"ok": 1, "expired": 1}
    assert values["aegis_upstream_handshake_duration_seconds_count", ()] == 1
    assert values["aegis_upstream_handshake_duration_seconds_bucket", ("0.025",)] == 1
    assert values["aegis_upstream_handshake_duration_seconds_bucket", ("0.01",)] == 0


def test_retries_and_upstreams_that_are_out(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Retries by reason; one sample for each address of a host; a line when an upstream goes out or comes back."""
    up = [("a.test", "http://10.0.0.1:80", True), ("a.test", "http://10.0.0.2:80", False)]
    failures = LastFailures(clock)
    telemetry = WorkerTelemetry(
        clock=clock,
        gauges=dict,
        failures=failures,
        statistics=TrafficStatistics(clock),
        upstreams_up=lambda: [*up, up[0]],
        upstreams_checked=lambda: up[1:],
    )
    for reason in ("stale", "failed", "failed"):
        telemetry.retried(ROUTE, TARGET, reason)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "aegis.proxy"):
        telemetry.upstream_changed(ROUTE, TARGET, is_up=False)
        telemetry.upstream_changed(ROUTE, TARGET, is_up=True)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", 'upstream is out: host=or"ders\\ upstream=https://10.0.0.7:9443'),
        ("INFO", 'upstream is back: host=or"ders\\ upstream=https://10.0.0.7:9443'),
    ]
    values = samples(telemetry)
    assert values["aegis_retries_total", (ROUTE.name, "failed")] == 2
    assert values["aegis_retries_total", (ROUTE.name, "stale")] == 1
    assert values["aegis_upstream_up", ("a.test", "http://10.0.0.1:80")] == 1
    assert values["aegis_upstream_up", ("a.test", "http://10.0.0.2:80")] == 0
    assert telemetry.render().count(b"aegis_upstream_up{") == 2
    assert values["aegis_upstream_active_health", ("a.test", "http://10.0.0.2:80")] == 0
    assert telemetry.render().count(b"aegis_upstream_active_health{") == 1


def test_durations_are_a_cumulative_histogram(telemetry: WorkerTelemetry) -> None:
    """Bounds are inclusive; everything is in +Inf."""
    telemetry.own_answer(ROUTE, record(request()))
    for duration_s in (0.02, 99.0):
        done(telemetry, 200, duration_s)
    values = samples(telemetry)
    buckets = [values["aegis_request_duration_seconds_bucket", (bound,)] for bound in (*map(str, BUCKETS_S), "+Inf")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[4], buckets[-2], buckets[-1]) == (1, 2, 2, 3)
    assert values["aegis_request_duration_seconds_count", ()] == 3
    assert values["aegis_request_duration_seconds_sum", ()] == pytest.approx(99.02)


def test_nothing_happened_yet(telemetry: WorkerTelemetry) -> None:
    """A scrape right after the start is valid too."""
    assert samples(telemetry)["aegis_request_duration_seconds_count", ()] == 0


def test_hosts_may_come_and_go_during_a_scrape(telemetry: WorkerTelemetry) -> None:
    """Traffic goes on between two slices."""

    def slices() -> Iterator[bytes]:
        for number, part in enumerate(telemetry.slices()):
            yield part
            done(telemetry, 200, 0.1, dataclasses.replace(ROUTE, name=f"host-{number}"))
            telemetry.upstream_failed(dataclasses.replace(ROUTE, name=f"host-{number}"), TARGET, ERROR, b"id")

    assert list(text_string_to_metric_families(b"".join(slices()).decode()))


def test_the_access_log_hears_of_every_answer(telemetry: WorkerTelemetry, access_log: Kept) -> None:
    """But for hosts that have none, and for a WebSocket's beginning, which is told at its end."""
    done(telemetry, 200, 0.1)
    done(telemetry, 101, 0.1)
    done(telemetry, 200, 0.1, QUIET_ROUTE)
    telemetry.own_answer(ROUTE, record(request(), host=ROUTE.name))
    telemetry.own_answer(QUIET_ROUTE, record(request(), host=QUIET_ROUTE.name))
    telemetry.own_answer(None, record(None, host=""))
    assert [made[5] for made in access_log.records] == [ROUTE.name, ROUTE.name, ""]
    assert ("aegis_requests_total", ("", "2xx")) not in samples(telemetry), "what cannot be read is no request"


def test_failures_are_kept_for_the_report(telemetry: WorkerTelemetry, failures: LastFailures) -> None:
    """With the host and the upstream that they belong to."""
    telemetry.upstream_failed(ROUTE, TARGET, ERROR, b"id-1")
    [failure] = failures.to_report()
    assert (failure.host_id, failure.upstream_id, failure.phase, failure.code) == ("h", "u", "tls", "expired")
    assert (failure.reason, failure.request_id, failure.at) == (ERROR.reason, "id-1", 1000.0)


def test_without_an_access_log(clock: Clock, failures: LastFailures) -> None:
    """Everything else is as with one."""
    telemetry = WorkerTelemetry(
        clock=clock, gauges=dict, failures=failures, statistics=TrafficStatistics(lambda: 1000.0)
    )
    done(telemetry, 200, 0.1)
    telemetry.own_answer(None, record(None, host=""))
    values = samples(telemetry)
    assert values["aegis_requests_total", (ROUTE.name, "2xx")] == 1
    assert ("aegis_access_log_dropped_total", ()) not in values


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


def test_a_flood_of_connections_does_not_fill_the_log(
    telemetry: WorkerTelemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator is told that a limit is reached, once in LOG_REFUSALS_EVERY_S for each reason."""
    with caplog.at_level(logging.WARNING, "aegis.proxy"):
        for _ in range(10):
            telemetry.connection_refused(Refusal.TOTAL)
        telemetry.connection_refused(Refusal.CLIENT)
        clock.now += LOG_REFUSALS_EVERY_S
        telemetry.connection_refused(Refusal.TOTAL)
    assert [record.getMessage() for record in caplog.records] == [
        "connections refused: reason=total, 1 so far",
        "connections refused: reason=client, 1 so far",
        "connections refused: reason=total, 11 so far",
    ]


def tunnel(telemetry: WorkerTelemetry, kept: Record | None) -> Tunnel:
    """One that is open; `kept` is what the access log hears of it in the end."""
    ends = [MemoryTransport(Protocol()) for _ in range(2)]
    return Tunnel(*ends, route=ROUTE, target=TARGET, request_id=b"1", telemetry=telemetry, request=kept)


def test_tunnels_are_counted_while_they_are_open(telemetry: WorkerTelemetry, access_log: Kept) -> None:
    """Bytes at each scrape and never twice; closed ones count on, and the gauge goes back to zero."""
    first, second = tunnel(telemetry, record(request())), tunnel(telemetry, None)
    telemetry.tunnel_opened(first)
    telemetry.tunnel_opened(second)
    for open_count in (2, 1, 0):
        if open_count:
            first.bytes_to_client += 10
            second.bytes_to_upstream += 3
        values = samples(telemetry)
        assert values["aegis_websocket_connections", (ROUTE.name,)] == open_count
        if open_count:
            telemetry.tunnel_closed(first if open_count == 2 else second)
    values = samples(telemetry)
    assert values["aegis_websocket_bytes_total", ("to_client", ROUTE.name)] == 10
    assert values["aegis_websocket_bytes_total", ("to_upstream", ROUTE.name)] == 6
    assert len(access_log.records) == 1, "of the other one's host nothing is kept"
