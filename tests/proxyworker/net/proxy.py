"""A whole data plane without sockets: real configuration, pools, exchanges and client connections in memory."""

import dataclasses

from proxyworker.build import build
from proxyworker.errors import UpstreamError
from proxyworker.net.deadlines import Sweep
from proxyworker.net.downstream import DownstreamConnection
from proxyworker.net.downstream_factory import DownstreamFactory
from proxyworker.net.exchange import Exchange
from proxyworker.net.route import HostRoute, Target
from proxyworker.net.telemetry import Record, RetryReason
from proxyworker.net.tunnel import Tunnel
from proxyworker.policy.admission import Refusal
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.trusted_proxies import TrustedProxies
from proxyworker.runtime import Configuration
from proxyworker.snapshot import HostEntry, LoadedEntry, Upstream, default_port, encode_entry, entry_digest
from tests.proxyworker.net.memory import Attempt, Dialler, MemoryTransport

DOMAIN = "app.test"
GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def upstream(number: int = 1, scheme: str = "http", address: str = "", **changes: object) -> Upstream:
    """An upstream at 10.0.0.number, port 8080."""
    return Upstream(
        upstream_id=f"u{number}",
        scheme=scheme,  # type: ignore[arg-type]
        address=address or f"10.0.0.{number}",
        port=8080,
        **changes,  # type: ignore[arg-type]
    )


def entry(*upstreams: Upstream, domain: str = DOMAIN, host_id: str = "h1", **changes: object) -> HostEntry:
    """A host named like its domain; without `upstreams` it has one."""
    made = HostEntry(host_id=host_id, name=domain, domains=(domain,), upstreams=upstreams or (upstream(),))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def loaded(
    host: HostEntry, generation: int = 1, key_pem: bytes | None = None, downstream_key_pem: bytes | None = None
) -> LoadedEntry:
    """The entry as a feed hands it over."""
    text = encode_entry(host)
    return LoadedEntry(
        host_id=host.host_id,
        generation=generation,
        digest=entry_digest(text),
        entry_json=text,
        open_client_key=None if key_pem is None else lambda: key_pem,
        open_downstream_key=None if downstream_key_pem is None else lambda: downstream_key_pem,
    )


class RecordedTelemetry:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.answers: list[tuple[str | None, int]] = []
        self.failures: list[UpstreamError] = []
        self.refusals: list[int] = []
        self.refused_connections: list[Refusal] = []
        self.retries: list[tuple[str, RetryReason]] = []
        self.changes: list[tuple[str, bool]] = []
        self.tunnels: list[Tunnel] = []
        self.closed_tunnels: list[Tunnel] = []
        self.records: list[Record] = []
        self.opened: list[tuple[float, float | None]] = []
        self.handshakes: list[str] = []
        self.transferred: list[tuple[int, int, int, int]] = []

    def exchange_done(self, exchange: Exchange, status: int, ended_s: float) -> None:
        self.answers.append((exchange.route.name, status))
        self.records.append(exchange.record(status, ended_s))
        self.transferred.append(
            (exchange.bytes_received, exchange.bytes_to_upstream, exchange.bytes_from_upstream, exchange.bytes_sent)
        )

    def own_answer(self, route: HostRoute | None, record: Record) -> None:
        if record[9] is not None:
            self.answers.append((route.name if route else None, record[4]))
        self.records.append(record)

    def upstream_opened(self, route: HostRoute, opened_in_s: tuple[float, float | None]) -> None:
        self.opened.append(opened_in_s)

    def client_handshake(self, result: str) -> None:
        self.handshakes.append(result)

    def upstream_failed(self, route: HostRoute, target: Target, error: UpstreamError, request_id: bytes) -> None:
        self.failures.append(error)

    def retried(self, route: HostRoute, target: Target, reason: RetryReason) -> None:
        self.retries.append((target.upstream_id, reason))

    def upstream_changed(self, route: HostRoute, target: Target, *, is_up: bool) -> None:
        self.changes.append((target.upstream_id, is_up))

    def client_refused(self, status: int, reason: str) -> None:
        self.refusals.append(status)

    def connection_refused(self, refusal: Refusal) -> None:
        self.refused_connections.append(refusal)

    def tunnel_opened(self, tunnel: Tunnel) -> None:
        self.tunnels.append(tunnel)

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        self.closed_tunnels.append(tunnel)

    @property
    def codes(self) -> list[str]:
        """The codes of the upstream failures so far."""
        return [failure.code for failure in self.failures]


class MemoryProxy:
    """The data plane. `dialler` decides about connections to upstreams; time moves by `advance` only."""

    def __init__(
        self,
        dialler: Dialler,
        *hosts: HostEntry,
        limits: DownstreamLimits | None = None,
        scheme: str = "http",
        trusted: TrustedProxies | None = None,
    ) -> None:
        self.now = 1000.0
        self.dialler = dialler
        self.sweep = Sweep(lambda: self.now)
        self.configuration = Configuration(loop=None, sweep=self.sweep)  # type: ignore[arg-type]
        self.telemetry = RecordedTelemetry()
        self.factory = DownstreamFactory(
            holder=self.configuration,
            sweep=self.sweep,
            limits=limits or DownstreamLimits(),
            telemetry=self.telemetry,
            clock=lambda: self.now,
            request_id_prefix=b"test-",
            scheme=scheme,
            port=default_port(scheme),
            https_port=8443,
            trusted_proxies=trusted or TrustedProxies(),
        )
        self._transports: list[MemoryTransport] = []
        self.install(*hosts or (entry(),))

    def install(self, *hosts: HostEntry, generation: int = 1, downstream_key_pem: bytes | None = None) -> None:
        """Puts these hosts in force. `downstream_key_pem` is the key of their certificates for clients."""
        self.configuration.install(
            [build(loaded(host, generation, downstream_key_pem=downstream_key_pem)) for host in hosts]
        )

    def client(self, data: bytes = b"") -> MemoryTransport:
        """A client connects and sends `data`."""
        connection = DownstreamConnection(self.factory)
        transport = MemoryTransport(connection)
        connection.makeConnection(transport)
        self._transports.append(transport)
        if data:
            transport.deliver(data)
        return transport

    @property
    def attempt(self) -> Attempt:
        """The latest connection that a pool wanted to open."""
        return self.dialler.attempts[-1]

    def accept(self) -> MemoryTransport:
        """The latest attempt succeeds: the upstream's end of it, seen from the worker."""
        transport = self.attempt.accept()
        self._transports.append(transport)
        self.settle()
        return transport

    def settle(self) -> None:
        """Lets everything happen that can."""
        while any([transport.settle() for transport in self._transports]):
            pass

    def advance(self, seconds: float) -> None:
        """Time passes, then the deadlines are looked at."""
        self.now += seconds
        self.sweep.tick()
        self.settle()

    def assert_nothing_left(self) -> None:
        """No connection, no deadline and no pooled connection is left over."""
        self.settle()
        assert not self.factory.connections
        assert self.configuration.idle_connection_count == 0
        assert len(self.sweep) == 0
