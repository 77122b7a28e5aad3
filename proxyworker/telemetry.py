"""What the worker counts, logs and shows: Prometheus metrics and one log line per kind of upstream failure.

Laws of this module: counting is one dict operation; a line is written at most once per host and code in LOG_EVERY_S,
with the number that was left out, so that a broken upstream cannot fill a disk. Labels are bounded by what operators
configured: host names, status classes, codes.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxyworker.errors import UpstreamError
from proxyworker.net.route import HostRoute, Target
from proxyworker.net.tunnel import Tunnel

log = logging.getLogger("aegis.proxy")

LOG_EVERY_S = 1.0
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Gauges = Callable[[], dict[str, float]]


class WorkerTelemetry(Collector):
    """Implements `net.telemetry.Telemetry`. `gauges` yields the present values by metric name when asked."""

    def __init__(self, *, clock: Callable[[], float], gauges: Gauges) -> None:
        self._clock = clock
        self._gauges = gauges
        self._answers: Counter[tuple[str, int]] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[int] = Counter()
        self._tunnels: set[Tunnel] = set()
        self._tunnel_bytes: Counter[tuple[str, str]] = Counter()
        self._durations = [0] * (len(BUCKETS_S) + 1)
        self._duration_sum_s = 0.0
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exchange_done(self, route: HostRoute | None, status: int, duration_s: float) -> None:
        """A request was answered."""
        self._answers[route.name if route is not None else "", status // 100] += 1
        self._durations[bisect_left(BUCKETS_S, duration_s)] += 1
        self._duration_sum_s += duration_s

    def upstream_failed(self, route: HostRoute, target: Target, error: UpstreamError, request_id: bytes) -> None:
        """One attempt at an upstream failed."""
        self._failures[route.name, error.code] += 1
        now = self._clock()
        last_s, left_out = self._logged.get((route.name, error.code), (float("-inf"), 0))
        if now - last_s < LOG_EVERY_S:
            self._logged[route.name, error.code] = (last_s, left_out + 1)
            return
        self._logged[route.name, error.code] = (now, 0)
        log.warning(
            "upstream failed: host=%s upstream=%s phase=%s code=%s request_id=%s: %s%s",
            route.name,
            target.label,
            error.phase,
            error.code,
            request_id.decode("ascii"),
            error.reason,
            f" ({left_out} more since the last line)" if left_out else "",
        )

    def client_refused(self, status: int, reason: str) -> None:
        """A client broke the protocol or a limit."""
        self._refusals[status] += 1
        log.debug("client refused with %d: %s", status, reason)

    def tunnel_opened(self, tunnel: Tunnel) -> None:
        """From now on its counts are read at each scrape: nothing is counted here for each message."""
        self._tunnels.add(tunnel)

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        """Its counts are final."""
        self._tunnels.discard(tunnel)
        _add_bytes(self._tunnel_bytes, tunnel)

    def render(self) -> bytes:
        """All metrics in Prometheus's text form."""
        rendered: bytes = generate_latest(self._registry)
        return rendered

    def collect(self) -> Iterator[Metric]:
        """prometheus_client asks here at each scrape."""
        answers = CounterMetricFamily(
            "aegis_requests", "Requests answered; host is empty when none matched.", labels=["host", "status"]
        )
        for (host, status_class), number in self._answers.items():
            answers.add_metric([host, f"{status_class}xx"], number)
        yield answers
        failures = CounterMetricFamily(
            "aegis_upstream_failures", "Failed attempts at an upstream by diagnosis code.", labels=["host", "code"]
        )
        for (host, code), number in self._failures.items():
            failures.add_metric([host, code], number)
        yield failures
        refusals = CounterMetricFamily(
            "aegis_client_refusals", "Requests refused for breaking the protocol or a limit.", labels=["status"]
        )
        for status, number in self._refusals.items():
            refusals.add_metric([str(status)], number)
        yield refusals
        yield self._duration_histogram()
        yield from self._tunnel_metrics()
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(name, name.removeprefix("aegis_").replace("_", " "), value=value)

    def _duration_histogram(self) -> Metric:
        histogram = HistogramMetricFamily(
            "aegis_request_duration_seconds", "From the end of a request's head to the end of its answer."
        )
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, number in zip((*map(str, BUCKETS_S), "+Inf"), self._durations, strict=True):
            total += number
            buckets.append((bound, total))
        histogram.add_metric([], buckets, self._duration_sum_s)
        return histogram

    def _tunnel_metrics(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily(
            "aegis_websocket_connections", "WebSocket connections that are open.", labels=["host"]
        )
        numbers = Counter(tunnel.route.name for tunnel in self._tunnels)
        total_bytes = self._tunnel_bytes.copy()
        for tunnel in self._tunnels:
            _add_bytes(total_bytes, tunnel)
        # A host whose last WebSocket has closed shows 0 instead of vanishing.
        for host in {host for host, _ in total_bytes}:
            connections.add_metric([host], numbers[host])
        yield connections
        transferred = CounterMetricFamily(
            "aegis_websocket_bytes", "Bytes that WebSockets carried behind their 101.", labels=["host", "direction"]
        )
        for (host, direction), number in total_bytes.items():
            transferred.add_metric([host, direction], number)
        yield transferred


def _add_bytes(total_bytes: Counter[tuple[str, str]], tunnel: Tunnel) -> None:
    total_bytes[tunnel.route.name, "to_client"] += tunnel.bytes_to_client
    total_bytes[tunnel.route.name, "to_upstream"] += tunnel.bytes_to_upstream
