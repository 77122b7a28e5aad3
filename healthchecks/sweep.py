"""The sweep: takes the checks that are due, has them done, and tells the workers how the upstreams stand.

Laws of this module:
- Each sweep heals what the last one missed: rows, claims of the dead, and the feed are looked at anew.
- One sweep at a time in a process; one that comes meanwhile is left out.
- The beat of the feed is given only when checks are done: it says that the feed can be believed.
"""

import logging
import threading
from collections.abc import Sequence

from django.db import close_old_connections
from django.utils import timezone

from healthchecks.claims import claim_due, synchronise
from healthchecks.plans import Plans
from healthchecks.publishing import publish
from healthchecks.recording import Result, record
from healthchecks.runner import Runner, Work

logger = logging.getLogger(__name__)


class Sweeper:
    """What a process needs for its sweeps. The runner is started by the first one."""

    def __init__(self, runner: Runner | None = None) -> None:
        self._lock = threading.Lock()
        self._runner = runner
        self._plans = Plans()

    def sweep(self) -> None:
        """Once. Returns when the checks are begun."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            runner = self._living_runner()
            now = timezone.now()
            synchronise(now=now)
            claims = claim_due(now=now, limit=runner.free)
            work = [
                Work(delay_s=max(0.0, (claim.due_at - now).total_seconds()), claim=claim, job=job)
                for claim, job in self._plans.jobs_for(claims, now=now)
            ]
            runner.submit(work)
            publish(beat=now.timestamp())
        finally:
            self._lock.release()

    def _living_runner(self) -> Runner:
        if self._runner is None or not self._runner.is_alive:
            self._runner = Runner(write_results)
        return self._runner


def write_results(results: Sequence[Result]) -> None:
    """Writes results down, and publishes at once what they changed. For a thread that lives long."""
    close_old_connections()
    try:
        transitions = record(results, now=timezone.now())
        for change in transitions:
            logger.info("upstream %s is %s: %s", change.upstream_id, change.state, change.code or "ok")
        if transitions:
            publish()
    finally:
        close_old_connections()


_creating = threading.Lock()
_sweepers: list[Sweeper] = []


def process_sweeper() -> Sweeper:
    """The one of this process."""
    with _creating:
        if not _sweepers:
            _sweepers.append(Sweeper())
        return _sweepers[0]
