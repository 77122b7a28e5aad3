"""Keeps child processes running, in one terminal.

Laws of this module:
- A child that ends is started again: at once when it had run well, otherwise after a delay that doubles up to
  RESTART_DELAY_MAX_S.
- Every child runs in a process group of its own, tied to this process (`tether.py`). When it ends, what is left of its
  group is killed, so that no grandchild holds a port or a file.
- Stopping is SIGTERM, then SIGKILL after the child's `stop_within_s`.
- A child that can step down says so when it begins to end by itself. Its successor starts at once, beside it.

`twisted.runner.procmon` does much of this, but it closes a child's log pipe at a line of more than 16 KiB, restarts a
child that dies every two seconds without any delay, and cannot wait for the end of one child before it stops another.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import defer
from twisted.internet.base import DelayedCall
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

TETHER = Path(__file__).with_name("tether.py")
RESTART_DELAY_MIN_S = 0.25
RESTART_DELAY_MAX_S = 10.0
# A child that ran for so long had started well.
STARTED_WELL_S = 5.0
STOP_DEADLINE_S = 10.0
# A longer line is passed on in pieces.
LINE_MAX_BYTES = 64 * 1024
# Behind standard input, output and error.
FIRST_DESCRIPTOR = 3

Say = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What to run. `env` is all of its environment, `name` the prefix of its lines.

    A line of output that contains one of `noise` is not passed on. `descriptors` of this process are inherited from
    FIRST_DESCRIPTOR on; behind them, when it can step down, is one to which the child writes a byte to do so.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    noise: tuple[bytes, ...] = ()
    stop_within_s: float = STOP_DEADLINE_S
    descriptors: tuple[int, ...] = ()
    can_step_down: bool = False

    @property
    def step_down_descriptor(self) -> int:
        """Where the byte is written, when the child can step down."""
        return FIRST_DESCRIPTOR + len(self.descriptors)

    def descriptor_map(self) -> dict[int, Any]:
        """For IReactorProcess.spawnProcess: what stands behind each of the child's descriptors."""
        inherited: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        inherited.update(enumerate(self.descriptors, FIRST_DESCRIPTOR))
        if self.can_step_down:
            inherited[self.step_down_descriptor] = "r"
        return inherited


class Supervisor:
    """The children of this process. `reactor` spawns and keeps time; `say(name, line)` takes each line of output."""

    def __init__(self, *, reactor: Any, say: Say) -> None:
        self._reactor = reactor
        self._say = say
        self._keepers: dict[str, _Keeper] = {}

    def start(self, child: Child) -> None:
        """Run `child` and keep it running until it is stopped."""
        if child.name in self._keepers:
            raise ValueError(f"{child.name} runs already")
        self._keepers[child.name] = _Keeper(self._reactor, self._say, child)
        self._keepers[child.name].start()

    async def stop(self, names: Iterable[str] | None = None) -> None:
        """Stop the children `names` (default: all) at the same time; returns when the last of them has ended."""
        stopping = [name for name in (self._keepers if names is None else names) if name in self._keepers]
        await defer.DeferredList([self._keepers[name].stop() for name in stopping])
        for name in stopping:
            del self._keepers[name]

    def kill(self) -> None:
        """Do not wait for any child that is being stopped."""
        for keeper in self._keepers.values():
            keeper.kill_what_ends()

    @property
    def names(self) -> tuple[str, ...]:
        """The children that are kept running or are not yet gone, in the order of their start."""
        return tuple(self._keepers)


class _Keeper:
    """Keeps one child running. `_runs` are all runs that have not ended, `_current` is the one that nobody stopped."""

    def __init__(self, reactor: Any, say: Say, child: Child) -> None:
        self._reactor = reactor
        self._say = say
        self._child = child
        self._runs: list[_Run] = []
        self._current: _Run | None = None
        self._started_at = 0.0
        self._delay_s = RESTART_DELAY_MIN_S
        self._restart: DelayedCall | None = None
        self._stopped: defer.Deferred[None] | None = None

    def start(self) -> None:
        self._restart = None
        self._started_at = self._reactor.seconds()
        tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()))
        argv = (*tether, *self._child.argv)
        run = self._current = _Run(self._heard, self._ended, self._stepped_down)
        self._runs.append(run)
        try:
            self._reactor.spawnProcess(
                run, argv[0], argv, env=dict(self._child.env), childFDs=self._child.descriptor_map()
            )
        except OSError as error:  # no process or no memory for one: as good as a child that died at once
            self._ended(run, f"could not be started: {error.strerror}")

    def kill_what_ends(self) -> None:
        for run in self._runs:
            if run is not self._current:
                run.signal(signal.SIGKILL)

    def stop(self) -> "defer.Deferred[None]":
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if not self._runs:
            return defer.succeed(None)
        if self._stopped is None:
            self._stopped = defer.Deferred()
            self._current = None
            for run in self._runs:
                self._give_deadline(run)
                run.signal(signal.SIGTERM)
        return self._stopped

    def _give_deadline(self, run: "_Run") -> None:
        if run.deadline is None:
            run.deadline = self._reactor.callLater(self._child.stop_within_s, run.signal, signal.SIGKILL)

    def _heard(self, line: bytes) -> None:
        if not any(noise in line for noise in self._child.noise):
            self._say(self._child.name, line)

    def _stepped_down(self, run: "_Run") -> None:
        if run is self._current:
            self._say(self._child.name, b"ends; starting its successor")
            self._give_deadline(run)
            self.start()

    def _ended(self, run: "_Run", reason: str) -> None:
        self._runs.remove(run)
        if run.deadline is not None and run.deadline.active():
            run.deadline.cancel()
        if self._stopped is not None:
            if not self._runs:
                self._stopped.callback(None)
        elif run is self._current:
            self._start_later(reason)

    def _start_later(self, reason: str) -> None:
        self._current = None
        if self._reactor.seconds() - self._started_at >= STARTED_WELL_S:
            self._delay_s = RESTART_DELAY_MIN_S
        self._say(self._child.name, f"{reason}; starting it again in {self._delay_s:g} s".encode())
        self._restart = self._reactor.callLater(self._delay_s, self.start)
        self._delay_s = min(self._delay_s * 2, RESTART_DELAY_MAX_S)


class _Run(ProcessProtocol):
    """One run of a child: cuts its output into lines, hears that it steps down and tells how it ended.

    `deadline` is when it will be killed, once it has begun to end.
    """

    transport: Any  # IProcessTransport, whose declaration mypy cannot read

    def __init__(
        self,
        on_line: Callable[[bytes], None],
        on_end: "Callable[[_Run, str], None]",
        on_step_down: "Callable[[_Run], None]",
    ) -> None:
        self.deadline: DelayedCall | None = None
        self._on_line = on_line
        self._on_end = on_end
        self._on_step_down = on_step_down
        self._pid = 0
        self._rest = {1: b"", 2: b""}

    def signal(self, number: int) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)

    def connectionMade(self) -> None:
        self._pid = self.transport.pid
        self.transport.closeStdin()

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        if descriptor < FIRST_DESCRIPTOR:
            super().childDataReceived(descriptor, data)
        else:
            self._on_step_down(self)

    def outReceived(self, data: bytes) -> None:
        self._received(1, data)

    def errReceived(self, data: bytes) -> None:
        self._received(2, data)

    def _received(self, stream: int, data: bytes) -> None:
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        while len(rest) > LINE_MAX_BYTES:
            lines.append(rest[:LINE_MAX_BYTES])
            rest = rest[LINE_MAX_BYTES:]
        self._rest[stream] = rest
        for line in lines:
            self._on_line(line)

    def processExited(self, reason: Failure) -> None:
        # The group outlives its leader when grandchildren do; they would also keep the pipes open and the end unseen.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def processEnded(self, reason: Failure) -> None:
        for rest in self._rest.values():
            if rest:
                self._on_line(rest)
        self._on_end(self, _how_it_ended(reason.value))


def _how_it_ended(status: Any) -> str:
    if status.signal:
        return f"ended by {signal.Signals(status.signal).name}"
    return f"ended with exit status {status.exitCode}"
