"""Runs checks on one event loop, in a thread of its own, for as long as the process lives.

Laws of this module:
- A check costs no thread: what hangs waits in the loop until its deadline and holds up nobody.
- At most `capacity` checks are under way; whoever submits asks first how many are free.
- What is under way comes first: one check is begun in a turn of the loop, and few wait for it. A thousand that were
  begun at once would all end after their deadlines, and say of the upstreams what is true of this process.
- The loop touches no database. Results are handed over in batches, to one thread that writes them down. A batch that
  cannot be written is lost and logged: its claims expire, and the checks are done again.
"""

import asyncio
import logging
import resource
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from healthchecks.check import Job, check
from healthchecks.claims import Claim
from healthchecks.recording import Result

logger = logging.getLogger(__name__)

# As many as one process can begin in ten seconds: what hangs longer than that is cut off by its own deadline.
MAX_AT_ONCE = 2000
# Wait for their moment or turn: more than a core can begin in a second, and fewer than would outlive their leases.
MAX_WAITING = 500
# Names whose servers do not answer each hold a thread for as long as the resolver waits.
LOOKUP_THREADS = 128
WRITE_EVERY_S = 0.25
MAX_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One check to be done after `delay_s`."""

    delay_s: float
    claim: Claim
    job: Job


class Runner:
    """`write` gets the results, in batches, in a thread that may use the database."""

    def __init__(self, write: Callable[[Sequence[Result]], None], *, capacity: int | None = None) -> None:
        self._write = write
        self._capacity = capacity if capacity is not None else default_capacity()
        self._lock = threading.Lock()
        self._under_way = 0
        self._waiting = 0
        self._results: list[Result] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._lookups = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="health-lookup")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="health-writer")
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name="health-checks", daemon=True)
        self._thread.start()

    @property
    def free(self) -> int:
        """How many checks may be submitted."""
        return min(self._capacity - self._under_way, MAX_WAITING - self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether checks are done at all."""
        return self._thread.is_alive()

    def submit(self, work: Sequence[Work]) -> None:
        """Do these checks. Returns at once."""
        with self._lock:
            self._under_way += len(work)
            self._waiting += len(work)
        self._loop.call_soon_threadsafe(self._begin, work)

    def stop(self) -> None:
        """Ends the thread. Checks under way are given up; results that are there are written."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._lookups.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown()

    # In the loop's thread

    def _run(self) -> None:
        writing = self._loop.create_task(self._keep_writing())
        try:
            self._loop.run_forever()
        finally:
            for task in (writing, *self._tasks):
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(writing, *self._tasks, return_exceptions=True))
            self._hand_over()
            self._loop.close()

    def _begin(self, work: Sequence[Work]) -> None:
        for one in work:
            task = self._loop.create_task(self._do(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _do(self, work: Work) -> None:
        try:
            await self._turn_of(work)
            outcome = await check(work.job, lookups=self._lookups)
            # Only now: the list that was there before the check may have been handed over meanwhile.
            self._results.append(Result(claim=work.claim, outcome=outcome))
        except Exception:
            # A mistake of ours in one check must not cost the others; its claim expires.
            logger.exception("the check of upstream %s failed", work.claim.upstream_id)
        finally:
            with self._lock:
                self._under_way -= 1

    async def _turn_of(self, work: Work) -> None:
        try:
            await asyncio.sleep(work.delay_s)
            async with self._turn:
                await asyncio.sleep(0)
        finally:
            with self._lock:
                self._waiting -= 1

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await asyncio.gather(*(asyncio.wrap_future(future) for future in self._hand_over()))

    def _hand_over(self) -> list[Future[None]]:
        results, self._results = self._results, []
        batches = [results[start : start + MAX_BATCH] for start in range(0, len(results), MAX_BATCH)]
        return [self._writer.submit(self._written, batch) for batch in batches]

    # In the writer's thread

    def _written(self, batch: Sequence[Result]) -> None:
        try:
            self._write(batch)
        except Exception:
            logger.exception("the results of %d checks were not written down", len(batch))


def default_capacity() -> int:
    """Half of the descriptors that this process may have: each check needs one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_AT_ONCE if soft == resource.RLIM_INFINITY else min(MAX_AT_ONCE, soft // 2)
