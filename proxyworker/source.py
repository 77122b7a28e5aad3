"""Where a worker's configuration comes from, and how it keeps up with it.

Laws of this module:
- The feed is read and entries are built off the reactor thread, by one thread at a time; installing happens on it.
- A signal only says "look now". The feed is also looked at every POLL_S, so a lost signal costs seconds, not a change.
- A feed that is away changes nothing: the worker goes on with what it has and says so once.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from proxyworker.build import BuiltHost, build
from proxyworker.runtime import Configuration
from proxyworker.snapshot import LoadedEntry, WorkerReport

log = logging.getLogger("aegis.proxy")

POLL_S = 5.0
REPORT_EVERY_S = 15.0
# A broken upstream fails all the time, and traffic never ends: that alone is no reason for more writes to the database
# than this. Less than POLL_S, so that a report of something else just before does not make it wait for the poll after
# the next; and who watches the traffic has it told sooner by a signal.
NEWS_EVERY_S = 1.5


class Feed(Protocol):
    """The control plane, as a worker sees it. Called off the reactor thread; may raise anything."""

    def entries_since(self, generation: int) -> Iterable[LoadedEntry]:
        """Entries newer than `generation` in ascending order; for 0 all living ones. Read as they are built."""

    def record_report(self, report: WorkerReport) -> None:
        """Keeps what the worker says about itself."""


class ConfigurationSource:
    """Loads what is new into a Configuration and reports to the feed.

    `clock` is an IReactorTime. `in_thread(function)` runs a function off the reactor thread and gives a Deferred of its
    result. `report(configuration)` makes the report of this process, `reported(report)` hears that the feed has it.
    `on_first_load()` is called once.
    """

    def __init__(
        self,
        feed: Feed,
        configuration: Configuration,
        *,
        clock: Any,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        report: Callable[[Configuration], WorkerReport],
        reported: Callable[[WorkerReport], None],
        on_first_load: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._configuration = configuration
        self._clock = clock
        self._in_thread = in_thread
        self._report = report
        self._on_reported = reported
        self._on_first_load = on_first_load
        self._polling = LoopingCall(self.look)
        self._polling.clock = clock
        self._is_busy = False
        self._is_wanted = False
        self._was_away = False
        self._reported: WorkerReport | None = None
        self._reported_s = float("-inf")
        self.is_loaded = False

    def start(self) -> None:
        """Looks at once, and every POLL_S from then on."""
        self._polling.start(POLL_S)

    def stop(self) -> None:
        """Looks no more."""
        if self._polling.running:
            self._polling.stop()

    async def report_at_last(self, within_s: float) -> None:
        """Tells what is not told yet, once it is stopped; what the feed does not take in that time is lost."""
        if not self.is_loaded:
            return
        report = self._report(self._configuration)
        if not (report.failures or report.traffic):
            return
        try:
            telling = self._in_thread(lambda: self._feed.record_report(report))
            await telling.addTimeout(within_s, self._clock)
        except Exception as error:  # noqa: BLE001 (whatever keeps the feed away, the worker ends)
            log.warning("the last report was not taken: %s", type(error).__name__)

    def look(self) -> None:
        """Loads what is new; while a load is under way, once more after it."""
        self._is_wanted = True
        if not self._is_busy:
            self._is_busy = True
            Deferred.fromCoroutine(self._load_all())

    async def _load_all(self) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                await self._load()
        finally:
            self._is_busy = False

    async def _load(self) -> None:
        try:
            built = await self._in_thread(self._fetch)
            await self._install(built)
            await self._send_report()
        except Exception as error:  # noqa: BLE001 (whatever keeps the feed away, the traffic goes on)
            if not self._was_away:
                log.error("configuration source is away, serving what is loaded: %s", type(error).__name__)
            self._was_away = True
            return
        if self._was_away:
            log.info("configuration source is back")
        self._was_away = False

    def _fetch(self) -> list[BuiltHost]:
        return [build(entry) for entry in self._feed.entries_since(self._configuration.generation)]

    async def _install(self, built: list[BuiltHost]) -> None:
        if built:
            for _ in self._configuration.installing(built):
                await deferLater(self._clock, 0)  # traffic has its turn
            log.info("configuration generation %d: %d hosts changed", self._configuration.generation, len(built))
            for host in built:
                if host.reason:
                    log.error("host %s rejected: %s", host.entry.name if host.entry else host.host_id, host.reason)
        if not self.is_loaded:
            self.is_loaded = True
            self._on_first_load()

    async def _send_report(self) -> None:
        report = self._report(self._configuration)
        without_news = replace(report, failures=(), traffic=())
        now = self._clock.seconds()
        due_after_s = NEWS_EVERY_S if report.failures or report.traffic else REPORT_EVERY_S
        if without_news == self._reported and now - self._reported_s < due_after_s:
            return
        await self._in_thread(lambda: self._feed.record_report(report))
        self._reported = without_news
        self._reported_s = now
        self._on_reported(report)
