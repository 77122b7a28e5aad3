"""One worker process: wires configuration, listeners, upstream pools and telemetry, and ends them in order.

Laws of this module: nothing is decided here. Order of start: management listener, first load, traffic listeners; only
then is the worker ready. Order of stop: not ready, no new connections, idle ones closed, the others up to DRAIN_S,
tunnels up to TUNNELS_DRAIN_S.
"""

import asyncio
import datetime
import gc
import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from proxyworker.change_signal import listen
from proxyworker.management_server import management_site
from proxyworker.net.deadlines import TICK_S, Sweep
from proxyworker.net.downstream import DownstreamFactory
from proxyworker.net.downstream_tls import TLSFactory
from proxyworker.net.transport import LoopListeningPort, LoopServerEndpoint
from proxyworker.policy.limits import DownstreamLimits
from proxyworker.runtime import Configuration
from proxyworker.snapshot import WorkerReport
from proxyworker.source import ConfigurationSource, Feed
from proxyworker.telemetry import WorkerTelemetry

log = logging.getLogger("aegis.proxy")

DRAIN_S = 10.0
# Early enough for both ends of a tunnel to be closed in order before the worker is gone.
TUNNELS_DRAIN_S = 5.0

T = TypeVar("T")

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where a worker listens and what it listens to."""

    http: Sequence[Address]
    https: Sequence[Address]
    management: Address
    redis_url: str
    version: str

    @property
    def https_port(self) -> int:
        """Where clients of plain HTTP are sent. Without a listener here, whatever stands in front has the usual one."""
        return self.https[0][1] if self.https else 443


class ProxyService:
    """A worker. `reactor` runs on `loop`."""

    def __init__(self, settings: ServiceSettings, feed: Feed, *, reactor: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._reactor = reactor
        self._loop = loop
        self._sweep = Sweep(loop.time)
        self._configuration = Configuration(loop=loop, sweep=self._sweep)
        self._telemetry = WorkerTelemetry(clock=loop.time, gauges=self._gauges)
        self._factories: list[DownstreamFactory] = []
        self._ports: list[LoopListeningPort] = []
        self._problem = "the configuration is not loaded yet"
        self.has_failed = False
        self._signal: asyncio.Task[None] | None = None
        self._ticking = LoopingCall(self._sweep.tick)
        self._ticking.clock = reactor
        self._source = ConfigurationSource(
            feed,
            self._configuration,
            clock=reactor,
            in_thread=self._in_thread,
            report=self._report,
            on_first_load=self._open_listeners,
        )

    def start(self) -> None:
        """Starts everything; failures that make the worker useless stop the reactor, and `has_failed` says so."""
        host, port = self._settings.management
        site = management_site(problem=lambda: self._problem, metrics=self._telemetry.render)
        try:
            self._reactor.listenTCP(port, site, interface=host)
        except CannotListenError:
            self._cannot_listen(Failure())
            return
        self._ticking.start(TICK_S)
        self._source.start()
        self._signal = self._loop.create_task(listen(self._settings.redis_url, heard=self._source.look))
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    # Parts

    def _open_listeners(self) -> None:
        Deferred.fromCoroutine(self._listen()).addErrback(self._cannot_listen)

    async def _listen(self) -> None:
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
            limits=DownstreamLimits(),
            telemetry=self._telemetry,
            clock=self._loop.time,
            request_id_prefix=secrets.token_hex(4).encode(),
            scheme=scheme,
            port=port,
            https_port=self._settings.https_port,
        )
        self._factories.append(factory)
        served = factory if scheme == "http" else TLSFactory(factory, datetime.datetime.now(datetime.UTC))
        self._ports.append(await LoopServerEndpoint(self._loop, host, port).listen(served))
        log.info("listening for %s on %s:%d", scheme, host, port)

    def _cannot_listen(self, failure: Failure) -> None:
        log.critical("cannot listen: %s", failure.getErrorMessage())
        self._problem = "a listener could not be opened"
        self.has_failed = True
        self._reactor.stop()

    def _in_thread(self, function: Callable[[], T]) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function)

    def _report(self, configuration: Configuration) -> WorkerReport:
        return WorkerReport(
            worker_id=f"{socket.gethostname()}:{os.getpid()}",
            generation=configuration.generation,
            accepted=configuration.accepted_count,
            rejected=configuration.rejected,
            version=self._settings.version,
            pid=os.getpid(),
        )

    def _gauges(self) -> dict[str, float]:
        return {
            "aegis_configuration_generation": self._configuration.generation,
            "aegis_hosts_accepted": self._configuration.accepted_count,
            "aegis_hosts_rejected": len(self._configuration.rejected),
            "aegis_client_connections": sum(len(factory.connections) for factory in self._factories),
            "aegis_upstream_idle_connections": self._configuration.idle_connection_count,
        }

    async def _drain(self) -> None:
        self._problem = "the worker is stopping"
        self._source.stop()
        if self._signal is not None:
            self._signal.cancel()
        for port in self._ports:
            port.stopListening()
        for factory in self._factories:
            factory.drain(tunnels_within_s=TUNNELS_DRAIN_S)
        deadline_s = self._loop.time() + DRAIN_S
        while any(factory.connections for factory in self._factories) and self._loop.time() < deadline_s:
            await deferLater(self._reactor, TICK_S / 5)
        self._configuration.close()

    def _stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._drain())
