"""What the worker counts, logs and reports: Prometheus metrics, the access log, and failures of upstreams.

Laws of this module: counting is a few additions; a line about a failing upstream is written at most once per host and
code in LOG_EVERY_S, with the number that was left out, so that a broken upstream cannot fill a disk. Labels are bounded
by what operators configured: host names, status classes, codes. Prometheus gets no buckets per host.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxyworker.access_log.log import AccessLog, ErrorLog
from proxyworker.errors import Phase, UpstreamError
from proxyworker.exposition import family, label_value
from proxyworker.failures import LastFailures
from proxyworker.net.exchange import Exchange
from proxyworker.net.route import HostRoute, Target
from proxyworker.net.telemetry import Record, RetryReason
from proxyworker.net.tunnel import Tunnel
from proxyworker.policy.admission import Refusal
from proxyworker.runtime import Expiry
from proxyworker.statistics import BUCKETS_S, COLUMN_OF_STATUS, FIRST_BUCKET, TrafficStatistics

log = logging.getLogger("aegis.proxy")

LOG_EVERY_S = 1.0
LOG_REFUSALS_EVERY_S = 60.0

# Those of the service, with what /metrics says about them.
GAUGES = {
    "aegis_configuration_generation": "Generation of the configuration that is in force.",
    "aegis_worker_compiled": "1: the data plane is compiled; 0: it runs as Python, at half the speed.",
    "aegis_hosts_accepted": "Hosts that are served.",
    "aegis_hosts_rejected": "Hosts whose configuration cannot be used: they answer 502.",
    "aegis_health_feed_is_current": "1: what active checks say holds; 0: it is old, or there is none.",
    "aegis_health_feed_age_seconds": "Since the last sweep of the active checks that is known of.",
    "aegis_client_connections": "Connections of clients that are open.",
    "aegis_client_connections_limit": "How many connections of clients there may be.",
    "aegis_upstream_idle_connections": "Connections to upstreams that wait for work.",
    "aegis_upstream_active_connections": "Connections to upstreams that have work, WebSockets too.",
}

Gauges = Callable[[], dict[str, float]]
UpstreamsUp = Callable[[], Iterable[tuple[str, str, bool | None]]]


class HostTraffic:
    """What is counted of one host. `answers` are by status class; bytes are those of heads and bodies.

    Bytes of bodies count to and from clients as they are written, and from them without what frames them.
    """

    __slots__ = (
        "answers",
        "bytes_from_clients",
        "bytes_from_upstreams",
        "bytes_to_clients",
        "bytes_to_upstreams",
        "duration_s",
        "label",
    )

    def __init__(self, host: str) -> None:
        self.label = f'host="{label_value(host)}"'
        self.answers = [0] * 10
        self.duration_s = 0.0
        self.bytes_from_clients = self.bytes_to_clients = 0
        self.bytes_from_upstreams = self.bytes_to_upstreams = 0

    @property
    def bytes(self) -> Iterator[tuple[str, str, int]]:
        """Peer, direction as the worker sees it, and number."""
        yield "client", "in", self.bytes_from_clients
        yield "client", "out", self.bytes_to_clients
        yield "upstream", "in", self.bytes_from_upstreams
        yield "upstream", "out", self.bytes_to_upstreams


class Durations:
    """A histogram with BUCKETS_S, the last bucket being what is above them."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """One more."""
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s

    def metric(self, name: str, meaning: str) -> Metric:
        """As prometheus_client wants it."""
        histogram = HistogramMetricFamily(name, meaning)
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, number in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += number
            buckets.append((bound, total))
        histogram.add_metric([], buckets, self.sum_s)
        return histogram


class WorkerTelemetry(Collector):
    """Implements `net.telemetry.Telemetry`. `gauges` yields the present values by metric name when asked.

    `clock` is that of the exchanges. `failures` keeps what is reported of upstreams, `statistics` what is reported of
    traffic; `access_log` and `error_log` may be None: there is none. `expiries` are those of the hosts' certificates,
    `upstreams_up` yields `(host, upstream, is up)` of those upstreams that can be out, `upstreams_checked` of those
    that active checks say something of.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        gauges: Gauges,
        failures: LastFailures,
        statistics: TrafficStatistics,
        expiries: Callable[[], Iterable[Expiry]] = tuple,
        upstreams_up: UpstreamsUp = tuple,
        upstreams_checked: UpstreamsUp = tuple,
        access_log: AccessLog | None = None,
        error_log: ErrorLog | None = None,
    ) -> None:
        self._clock = clock
        self._gauges = gauges
        self._last_failures = failures
        self._statistics = statistics
        self._expiries = expiries
        self._upstreams_up = upstreams_up
        self._upstreams_checked = upstreams_checked
        self._retries: Counter[tuple[str, RetryReason]] = Counter()
        self._access_log = access_log
        self._error_log = error_log
        self._hosts: dict[str, HostTraffic] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._handshakes: Counter[tuple[str, str]] = Counter()
        self._handshake_durations = Durations()
        self._client_handshakes: Counter[str] = Counter()
        self._refusals: Counter[int] = Counter()
        self._refused_connections: Counter[Refusal] = Counter()
        self._refusal_logged_s: dict[Refusal, float] = {}
        self._tunnels: set[Tunnel] = set()
        self._tunnel_bytes: Counter[tuple[str, str]] = Counter()
        self._durations = Durations()
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    # From the connections

    def exchange_done(self, exchange: Exchange, status: int, ended_s: float) -> None:
        """A request of a host was answered. The access log hears of a tunnel when it ends."""
        route = exchange.route
        traffic = self._hosts.get(route.name) or self._traffic(route.name)
        duration_s = ended_s - exchange.started_s
        traffic.answers[status // 100] += 1
        traffic.duration_s += duration_s
        traffic.bytes_from_clients += exchange.bytes_received
        traffic.bytes_to_clients += exchange.bytes_sent
        traffic.bytes_from_upstreams += exchange.bytes_from_upstream
        traffic.bytes_to_upstreams += exchange.bytes_to_upstream
        bucket = bisect_left(BUCKETS_S, duration_s)
        durations = self._durations
        durations.counts[bucket] += 1
        durations.sum_s += duration_s
        statistics = self._statistics
        counts = statistics.present.get(route) or statistics.begin(route)
        counts[COLUMN_OF_STATUS[status]] += 1
        counts[FIRST_BUCKET + bucket] += 1
        if route.access_log and self._access_log is not None and status != 101:
            self._access_log.add(exchange.record(status, ended_s))

    def own_answer(self, route: HostRoute | None, record: Record) -> None:
        """The worker answered by itself. What could not be read is no request: it counts as a refusal only."""
        _, _, bytes_received, bytes_sent, status, host, *_ = record
        if record[9] is not None:
            traffic = self._hosts.get(host) or self._traffic(host)
            traffic.answers[status // 100] += 1
            traffic.bytes_from_clients += bytes_received
            traffic.bytes_to_clients += bytes_sent
            self._durations.add(0.0)
            counts = self._statistics.present.get(route) or self._statistics.begin(route)
            counts[COLUMN_OF_STATUS[status]] += 1
        if self._access_log is not None and (route is None or route.access_log):
            self._access_log.add(record)

    def upstream_opened(self, route: HostRoute, opened_in_s: tuple[float, float | None]) -> None:
        """A connection to an upstream was opened."""
        tls_s = opened_in_s[1]
        if tls_s is not None:
            self._handshakes[route.name, "ok"] += 1
            self._handshake_durations.add(tls_s)
            self._statistics.upstream_opened(route)

    def upstream_failed(self, route: HostRoute, target: Target, error: UpstreamError, request_id: bytes) -> None:
        """One attempt at an upstream failed."""
        self._failures[route.name, error.code] += 1
        if error.phase is Phase.TLS:
            self._handshakes[route.name, error.code] += 1
        self._last_failures.add(route.host_id, target.upstream_id, error, request_id)
        self._statistics.upstream_failed(route, error)
        now = self._clock()
        if self._error_log is not None:
            # Whatever the host's `access_log` says: nothing of the client is in it.
            self._error_log.add(
                (now, route.name, target.label, error.phase.value, error.code, error.reason, request_id)
            )
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

    def retried(self, route: HostRoute, target: Target, reason: RetryReason) -> None:
        """A request was sent once more."""
        self._retries[route.name, reason] += 1

    def upstream_changed(self, route: HostRoute, target: Target, *, is_up: bool) -> None:
        """An upstream is out, or back; at most two lines for each of its back-offs."""
        level, word = (logging.INFO, "back") if is_up else (logging.WARNING, "out")
        log.log(level, "upstream is %s: host=%s upstream=%s", word, route.name, target.label)

    def client_refused(self, status: int, reason: str) -> None:
        """A client broke the protocol or a limit."""
        self._refusals[status] += 1
        log.debug("client refused with %d: %s", status, reason)

    def connection_refused(self, refusal: Refusal) -> None:
        """A client's connection was not taken: under a flood the line is written once in a while."""
        self._refused_connections[refusal] += 1
        now = self._clock()
        if now - self._refusal_logged_s.get(refusal, float("-inf")) >= LOG_REFUSALS_EVERY_S:
            self._refusal_logged_s[refusal] = now
            log.warning("connections refused: reason=%s, %d so far", refusal, self._refused_connections[refusal])

    def client_handshake(self, result: str) -> None:
        """A client's TLS handshake ended."""
        self._client_handshakes[result] += 1

    def tunnel_opened(self, tunnel: Tunnel) -> None:
        """From now on its counts are read at each scrape: nothing is counted here for each message."""
        self._tunnels.add(tunnel)

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        """Its counts are final."""
        self._tunnels.discard(tunnel)
        _add_bytes(self._tunnel_bytes, tunnel)
        if self._access_log is not None:
            record = tunnel.record(self._clock())
            if record is not None:
                self._access_log.add(record)

    def _traffic(self, host: str) -> HostTraffic:
        traffic = self._hosts[host] = HostTraffic(host)
        return traffic

    # To Prometheus

    def render(self) -> bytes:
        """All metrics in Prometheus's text form."""
        return b"".join(self.slices())

    def slices(self) -> Iterator[bytes]:
        """The same in pieces that each take milliseconds. Hosts may come and go in between."""
        yield generate_latest(self._registry)
        hosts = list(self._hosts.values())
        yield from family(
            "aegis_requests_total",
            "counter",
            "Requests answered; host is empty when none matched.",
            (
                (f'{host.label},status="{status_class}xx"', number)
                for host in hosts
                for status_class, number in enumerate(host.answers)
                if number
            ),
        )
        yield from family(
            "aegis_host_request_duration_seconds_total",
            "counter",
            "Sum of the durations of a host's requests; their number is in aegis_requests_total.",
            ((host.label, host.duration_s) for host in hosts),
        )
        yield from family(
            "aegis_transferred_bytes_total",
            "counter",
            "Bytes of requests and responses, without TLS and without what WebSockets carry.",
            (
                (f'{host.label},peer="{peer}",direction="{direction}"', number)
                for host in hosts
                for peer, direction, number in host.bytes
            ),
        )
        yield from self._upstream_families()
        yield from self._tunnel_families()
        yield from family(
            "aegis_certificate_not_after_seconds",
            "gauge",
            "End of a host's certificate in Unix time: towards its upstreams (client), towards its clients (server).",
            (
                (f'host="{label_value(expiry.host)}",role="{expiry.role}"', expiry.not_after)
                for expiry in self._expiries()
            ),
        )

    def _upstream_families(self) -> Iterator[bytes]:
        for counter, name, label, meaning in (
            (
                self._failures,
                "aegis_upstream_failures_total",
                "code",
                "Failed attempts at an upstream by its diagnosis.",
            ),
            (self._handshakes, "aegis_upstream_handshakes_total", "result", "TLS handshakes: ok, or the diagnosis."),
            (self._retries, "aegis_retries_total", "reason", "Requests sent once more, by the reason."),
        ):
            numbers = list(counter.items())
            samples = ((f'host="{label_value(host)}",{label}="{value}"', n) for (host, value), n in numbers)
            yield from family(name, "counter", meaning, samples)
        yield from _up_family(
            "aegis_upstream_up", "0: out by its failures. Of hosts with several upstreams.", self._upstreams_up()
        )
        yield from _up_family(
            "aegis_upstream_active_health", "0: down by active checks. Of those checked.", self._upstreams_checked()
        )

    def _tunnel_families(self) -> Iterator[bytes]:
        numbers = Counter(tunnel.route.name for tunnel in self._tunnels)
        total_bytes = self._tunnel_bytes.copy()
        for tunnel in self._tunnels:
            _add_bytes(total_bytes, tunnel)
        # A host whose last WebSocket has closed shows 0 instead of vanishing.
        names = {host: f'host="{label_value(host)}"' for host, _ in total_bytes}
        yield from family(
            "aegis_websocket_connections",
            "gauge",
            "WebSocket connections that are open.",
            ((label, numbers[host]) for host, label in names.items()),
        )
        yield from family(
            "aegis_websocket_bytes_total",
            "counter",
            "Bytes that WebSockets carried behind their 101.",
            ((f'{names[host]},direction="{direction}"', n) for (host, direction), n in total_bytes.items()),
        )

    def collect(self) -> Iterator[Metric]:
        """What is not by host; prometheus_client asks here at each scrape."""
        refusals = CounterMetricFamily(
            "aegis_client_refusals", "Requests refused for breaking the protocol or a limit.", labels=["status"]
        )
        for status, number in self._refusals.items():
            refusals.add_metric([str(status)], number)
        yield refusals
        refused_connections = CounterMetricFamily(
            "aegis_client_connections_refused", "Connections that were not taken.", labels=["reason"]
        )
        for refusal in Refusal:
            refused_connections.add_metric([refusal], self._refused_connections[refusal])
        yield refused_connections
        handshakes = CounterMetricFamily(
            "aegis_client_handshakes", "TLS handshakes with clients: full, resumed or failed.", labels=["result"]
        )
        for result in ("full", "resumed", "failed"):
            handshakes.add_metric([result], self._client_handshakes[result])
        yield handshakes
        yield self._durations.metric(
            "aegis_request_duration_seconds", "From the end of a request's head to the end of its answer."
        )
        yield self._handshake_durations.metric(
            "aegis_upstream_handshake_duration_seconds", "TLS handshakes with upstreams that succeeded."
        )
        if self._access_log is not None:
            yield CounterMetricFamily(
                "aegis_access_log_dropped",
                "Lines that could not be kept or written.",
                value=self._access_log.dropped_count + (self._error_log.dropped_count if self._error_log else 0),
            )
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(name, GAUGES[name], value=value)


def _up_family(name: str, meaning: str, upstreams: Iterable[tuple[str, str, bool | None]]) -> Iterator[bytes]:
    # Two upstreams of a host may have one address: a repeated sample would spoil the whole scrape.
    up = {(host, upstream): bool(is_up) for host, upstream, is_up in upstreams}
    samples = (
        (f'host="{label_value(host)}",upstream="{label_value(upstream)}"', is_up)
        for (host, upstream), is_up in up.items()
    )
    yield from family(name, "gauge", meaning, samples)


def _add_bytes(total_bytes: Counter[tuple[str, str]], tunnel: Tunnel) -> None:
    total_bytes[tunnel.route.name, "to_client"] += tunnel.bytes_to_client
    total_bytes[tunnel.route.name, "to_upstream"] += tunnel.bytes_to_upstream
