"""Several workers on the same ports, seen from outside as one.

Laws of this module:
- Every run of a worker listens on a unix socket `WORKER-PID.sock` in one private directory. Who listens there is who is
  asked: nothing else has to be told who runs.
- Nobody is waited for longer than ANSWER_WITHIN_S, all are asked at the same time.
- The group is ready when every worker is: connections are spread over all of them by the kernel, which does not know
  which is ready.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from proxyworker.merged_metrics import MergedMetrics

ANSWER_WITHIN_S = 1.0
# The metrics of 10 000 hosts have some ten million bytes.
MAX_ANSWER_BYTES = 100_000_000
_SUFFIX = ".sock"


def management_path(directory: Path, worker: int) -> Path:
    """Where this process listens when it is a run of `worker`."""
    return directory / f"{worker}-{os.getpid()}{_SUFFIX}"


@dataclass(frozen=True, slots=True)
class _Run:
    """One process that is or was a worker."""

    path: Path

    @property
    def worker(self) -> str:
        return self.path.name.partition("-")[0]

    @property
    def has_ended(self) -> bool:
        try:
            os.kill(int(self.path.stem.rpartition("-")[2]), 0)
        except ProcessLookupError:
            return True
        return False


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a run said; `status` is 0 when it said nothing in time."""

    run: _Run
    status: int = 0
    body: bytes = b""

    @property
    def reason(self) -> str:
        """Why it is not ready, in its own words."""
        if self.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return "does not answer"
        reason: str = json.loads(self.body)["reason"]
        return reason


class WorkerGroup:
    """The workers 1 to `count`, whose sockets are in `directory`."""

    def __init__(self, *, reactor: Any, directory: Path, count: int) -> None:
        self._reactor = reactor
        self._directory = directory
        self._workers = [str(number) for number in range(1, count + 1)]
        self._merged = MergedMetrics()

    async def problem(self) -> str:
        """Why the group is not ready, or empty."""
        answers = await self._ask_all(b"/readyz")
        ready = {answer.run.worker for answer in answers if answer.status == HTTPStatus.OK}
        reasons = {answer.run.worker: answer.reason for answer in answers}
        missing = [worker for worker in self._workers if worker not in ready]
        return "; ".join(f"worker {worker}: {reasons.get(worker, 'does not run')}" for worker in missing)

    async def metrics(self) -> bytes:
        """The metrics of all, and which of them answered."""
        answers = await self._ask_all(b"/metrics")
        told = {
            answer.run.path.name: (answer.run.worker, answer.body)
            for answer in answers
            if answer.status == HTTPStatus.OK
        }
        merged = self._merged.merge(told, living={answer.run.path.name for answer in answers})
        return merged + self._up({worker for worker, _ in told.values()})

    def _up(self, answering: set[str]) -> bytes:
        lines = [
            "# HELP aegis_worker_up Whether the worker answered within a second; its gauges are missing when not.",
            "# TYPE aegis_worker_up gauge",
            *(f'aegis_worker_up{{worker="{worker}"}} {float(worker in answering)}' for worker in self._workers),
        ]
        return "\n".join([*lines, ""]).encode()

    async def _ask_all(self, page: bytes) -> Sequence[_Answer]:
        runs = [_Run(path) for path in sorted(self._directory.glob(f"*{_SUFFIX}"))]
        for run in [run for run in runs if run.has_ended]:
            runs.remove(run)
            run.path.unlink(missing_ok=True)  # who is killed leaves it behind
        results = await DeferredList([Deferred.fromCoroutine(self._ask(run, page)) for run in runs])
        return [answer for _, answer in results]

    async def _ask(self, run: _Run, page: bytes) -> _Answer:
        question = _Question(page)
        endpoint = UNIXClientEndpoint(self._reactor, str(run.path), timeout=ANSWER_WITHIN_S)
        try:
            await connectProtocol(endpoint, question)
            status, body = await question.answer.addTimeout(ANSWER_WITHIN_S, self._reactor)
        except (ConnectError, error.TimeoutError, defer.TimeoutError, CancelledError):
            return _Answer(run)
        return _Answer(run, status, body)


class _Question(Protocol):
    """Asks for one page; `answer` gives its status and body, status 0 when the peer does not speak HTTP."""

    transport: Any

    def __init__(self, page: bytes) -> None:
        self._page = page
        self._received: list[bytes] = []
        self._size = 0
        self.answer: Deferred[tuple[int, bytes]] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        self.transport.write(b"GET %b HTTP/1.0\r\n\r\n" % self._page)

    def dataReceived(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            self.answer.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.answer.called:
            return
        head, _, body = b"".join(self._received).partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        self.answer.callback((int(words[1]) if len(words) == 3 and words[1].isdigit() else 0, body))
