"""One worker process: wires configuration, listeners, upstream pools and telemetry, and ends them in order.

Laws of this module: nothing is decided here. Order of start: management listener, first load, what active checks say,
traffic listeners; only then is the worker ready. Order of stop: not ready, `drain_delay_s` of work as before, no new
connections, idle ones closed, the others up to DRAIN_S, tunnels up to TUNNELS_DRAIN_S. A second signal ends the worker
at once.
"""

import asyncio
import datetime
import gc
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from proxyworker import compiled
from proxyworker.access_log.log import AccessLog, AccessLogSettings, ErrorLog
from proxyworker.allocator import keep_large_buffers
from proxyworker.change_signal import listen
from proxyworker.failures import LastFailures
from proxyworker.health_feed import STALE_AFTER_S, HealthFeed
from proxyworker.management_server import management_site
from proxyworker.net.deadlines import TICK_S, Sweep
from proxyworker.net.descriptors import connection_limit, raise_limit
from proxyworker.net.doors import Door
from proxyworker.net.downstream_factory import DownstreamFactory
from proxyworker.net.downstream_tls import TLSFactory
from proxyworker.net.transport import LoopListeningPort, LoopServerEndpoint
from proxyworker.policy.admission import Admission
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.policy.trusted_proxies import TrustedProxies
from proxyworker.runtime import Configuration
from proxyworker.snapshot import WorkerReport
from proxyworker.source import ConfigurationSource, Feed
from proxyworker.statistics import TrafficStatistics
from proxyworker.telemetry import WorkerTelemetry
from proxyworker.turns import Turns

log = logging.getLogger("aegis.proxy")

DRAIN_S = 10.0
# Early enough for both ends of a tunnel to be closed in order before the worker is gone.
TUNNELS_DRAIN_S = 5.0
# timeout(1) and make(1) send a signal twice: to the process and to its group.
IMPATIENT_AFTER_S = 1.0
# A disk that hangs does not keep the worker from ending.
ACCESS_LOG_DRAIN_S = 2.0
# Nor does a database.
LAST_REPORT_S = 2.0
# A Redis that hangs does not keep the worker from its traffic.
FIRST_HEALTH_S = 1.0

T = TypeVar("T")

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where a worker listens, what it listens to, and what clients may ask of it.

    `worker_id` names it in its reports and stays the same when it is started again. `management` is an address or the
    path of a unix socket. `sockets` listen already, on some of the addresses of `http` and `https`. `step_down` is
    called when the worker begins to end. Active checks whose last sweep is `health_stale_after_s` ago do not count.

    `proxy_protocol`: the traffic listeners on which every connection begins with that header. `max_connections` 0: as
    many as there are file descriptors for; `max_connections_per_client` 0: no limit.
    """

    http: Sequence[Address]
    https: Sequence[Address]
    management: Address | Path
    redis_url: str
    version: str
    worker_id: str
    access_log: AccessLogSettings = field(default_factory=AccessLogSettings)
    sockets: Mapping[Address, socket.socket] = field(default_factory=dict)
    drain_delay_s: float = 0.0
    step_down: Callable[[], None] | None = None
    health_stale_after_s: float = STALE_AFTER_S
    proxy_protocol: frozenset[Address] = frozenset()
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    limits: DownstreamLimits = field(default_factory=DownstreamLimits)
    max_connections: int = 0
    max_connections_per_client: int = 0

    @property
    def https_port(self) -> int:
        """Where clients of plain HTTP are sent. Without a listener here, whatever stands in front has the usual one."""
        return self.https[0][1] if self.https else 443


class ProxyService:
    """A worker. `reactor` runs on `loop`. Raises TooFewDescriptors when `max_connections` cannot be had."""

    def __init__(self, settings: ServiceSettings, feed: Feed, *, reactor: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._max_connections = connection_limit(settings.max_connections, raise_limit())
        self._admission = Admission(
            max_connections=self._max_connections,
            max_per_client=settings.max_connections_per_client,
            trusted=settings.trusted_proxies,
        )
        self._reactor = reactor
        self._loop = loop
        self._sweep = Sweep(loop.time)
        self._configuration = Configuration(loop=loop, sweep=self._sweep)
        self._health = HealthFeed(
            settings.redis_url,
            self._configuration,
            clock=loop.time,
            unix_time=time.time,
            stale_after_s=settings.health_stale_after_s,
        )
        self._failures = LastFailures(time.time)
        self._statistics = TrafficStatistics(time.time)
        self._run = secrets.token_hex(8)
        self._turns = Turns(self._soon)
        self._access_log, self._error_log = self._opened_logs()
        self._telemetry = WorkerTelemetry(
            clock=loop.time,
            gauges=self._gauges,
            failures=self._failures,
            statistics=self._statistics,
            expiries=self._configuration.expiries,
            upstreams_up=self._configuration.upstreams_up,
            upstreams_checked=self._configuration.upstreams_checked,
            access_log=self._access_log,
            error_log=self._error_log,
        )
        self._factories: list[DownstreamFactory] = []
        self._ports: list[LoopListeningPort] = []
        self._problem = "the configuration is not loaded yet"
        self.has_failed = False
        self._listening: list[asyncio.Task[None]] = []
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        self._source = ConfigurationSource(
            feed,
            self._configuration,
            clock=reactor,
            in_thread=self._in_thread,
            report=self._report,
            reported=self._reported,
            on_first_load=self._open_listeners,
        )

    def start(self) -> None:
        """Starts everything; failures that make the worker useless stop the reactor, and `has_failed` says so."""
        keep_large_buffers()
        site = management_site(problem=lambda: self._problem, metrics=self._metrics)
        management = self._settings.management
        try:
            if isinstance(management, Path):
                self._reactor.listenUNIX(str(management), site, mode=0o600)
            else:
                self._reactor.listenTCP(management[1], site, interface=management[0])
        except CannotListenError:
            self._cannot_listen(Failure())
            return
        self._ticking.start(TICK_S)
        self._source.start()
        self._listening = [
            self._loop.create_task(listen(self._settings.redis_url, heard=self._source.look)),
            self._loop.create_task(self._health.follow()),
        ]
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    # Parts

    def _opened_logs(self) -> tuple[AccessLog | None, ErrorLog | None]:
        settings = self._settings.access_log
        clocks: dict[str, Any] = {"clock": self._loop.time, "unix_time": time.time, "soon": self._soon}
        sink, errors_sink = settings.sink(), settings.errors_sink()
        return (
            AccessLog(sink, settings.form, **clocks) if sink is not None else None,
            ErrorLog(errors_sink, **clocks) if errors_sink is not None else None,
        )

    def _logs(self) -> list[AccessLog | ErrorLog]:
        return [lines for lines in (self._access_log, self._error_log) if lines is not None]

    def _soon(self, function: Callable[[], None]) -> Any:
        """In the next turn of the loop, after what has come in meanwhile."""
        return self._reactor.callLater(0, function)

    def _metrics(self) -> Deferred[bytes]:
        return self._turns.joined(self._telemetry.slices())

    def _tick(self) -> None:
        self._sweep.tick()
        self._statistics.tick()
        for name in self._configuration.end_exceptions():
            log.warning("exception from verification is over, upstreams are verified: host=%s", name)
        for lines in self._logs():
            lines.tick()

    def _open_listeners(self) -> None:
        Deferred.fromCoroutine(self._listen()).addErrback(self._cannot_listen)

    async def _listen(self) -> None:
        await Deferred.fromFuture(self._loop.create_task(self._health.begun(FIRST_HEALTH_S)))
        for host, port in self._settings.http:
            await self._listen_on(host, port, "http")
        for host, port in self._settings.https:
            await self._listen_on(host, port, "https")
        # What exists now lives long: the collector need not look at it again (10 000 hosts: 60 ms each time).
        gc.collect()
        gc.freeze()
        self._problem = ""
        log.info("ready: %d hosts, generation %d", self._configuration.accepted_count, self._configuration.generation)

    async def _listen_on(self, host: str, port: int, scheme: str) -> None:
        factory = DownstreamFactory(
            holder=self._configuration,
            sweep=self._sweep,
            limits=self._settings.limits,
            telemetry=self._telemetry,
            clock=self._loop.time,
            request_id_prefix=secrets.token_hex(4).encode(),
            scheme=scheme,
            port=port,
            https_port=self._settings.https_port,
            trusted_proxies=self._settings.trusted_proxies,
        )
        self._factories.append(factory)
        served = factory if scheme == "http" else TLSFactory(factory, datetime.datetime.now(datetime.UTC))
        has_proxy_protocol = (host, port) in self._settings.proxy_protocol
        door = Door(factory, served, self._admission, proxy_protocol=has_proxy_protocol)
        self._ports.append(await self._endpoint(host, port).listen_with(door.accept))
        log.info("listening for %s on %s:%d", scheme, host, port)

    def _endpoint(self, host: str, port: int) -> LoopServerEndpoint:
        return LoopServerEndpoint(self._loop, host, port, listening=self._settings.sockets.get((host, port)))

    def _cannot_listen(self, failure: Failure) -> None:
        log.critical("cannot listen: %s", failure.getErrorMessage())
        self._problem = "a listener could not be opened"
        self.has_failed = True
        self._reactor.stop()

    def _in_thread(self, function: Callable[[], T]) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function)

    def _report(self, configuration: Configuration) -> WorkerReport:
        return WorkerReport(
            worker_id=self._settings.worker_id,
            generation=configuration.generation,
            accepted=configuration.accepted_count,
            rejected=configuration.rejected,
            version=self._settings.version,
            pid=os.getpid(),
            failures=self._failures.to_report(),
            traffic=self._statistics.to_report(),
            run=self._run,
            health_feed_is_current=self._health.is_current,
        )

    def _reported(self, report: WorkerReport) -> None:
        self._failures.reported(report.failures)
        self._statistics.reported(report.traffic)

    def _gauges(self) -> dict[str, float]:
        idle = self._configuration.idle_connection_count
        return {
            "aegis_configuration_generation": self._configuration.generation,
            "aegis_worker_compiled": float(compiled.is_used()),
            "aegis_hosts_accepted": self._configuration.accepted_count,
            "aegis_hosts_rejected": self._configuration.rejected_count,
            "aegis_health_feed_is_current": float(self._health.is_current),
            "aegis_health_feed_age_seconds": self._health.age_s,
            "aegis_client_connections": self._admission.total,
            "aegis_client_connections_limit": self._max_connections,
            "aegis_upstream_idle_connections": idle,
            "aegis_upstream_active_connections": self._configuration.open_connection_count - idle,
        }

    async def _drain(self) -> None:
        self._problem = "the worker is stopping"
        self._end_at_second_signal()
        if self._settings.step_down is not None:
            self._settings.step_down()
        if not self.has_failed:
            # Who sends the traffic looks at /readyz every few seconds and needs this time to go elsewhere.
            await deferLater(self._reactor, self._settings.drain_delay_s)
        self._source.stop()
        for task in self._listening:
            task.cancel()
        for port in self._ports:
            await port.stopListening()
        for factory in self._factories:
            factory.drain(tunnels_within_s=TUNNELS_DRAIN_S)
        deadline_s = self._loop.time() + DRAIN_S
        while self._admission.total and self._loop.time() < deadline_s:
            await deferLater(self._reactor, TICK_S / 5)
        self._configuration.close()
        await self._source.report_at_last(LAST_REPORT_S)
        for lines in self._logs():
            lines.close(ACCESS_LOG_DRAIN_S)

    def _stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._drain())

    def _end_at_second_signal(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
            self._reactor.callLater(IMPATIENT_AFTER_S, signal.signal, number, signal.SIG_DFL)
