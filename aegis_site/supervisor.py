"""Keeps child processes running, in one terminal.

Laws of this module:
- A child that ends is started again: at once when it had run well, otherwise after a delay that doubles up to
  RESTART_DELAY_MAX_S.
- Every child runs in a process group of its own, tied to this process (`tether.py`). When it ends, what is left of its
  group is killed, so that no grandchild holds a port or a file.
- Stopping is SIGTERM, then SIGKILL after STOP_DEADLINE_S.

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

Say = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What to run. `env` is all of its environment, `name` the prefix of its lines.

    A line of output that contains one of `noise` is not passed on.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    noise: tuple[bytes, ...] = ()


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
            keeper.kill_if_stopping()

    @property
    def names(self) -> tuple[str, ...]:
        """The children that are kept running or are not yet gone, in the order of their start."""
        return tuple(self._keepers)


class _Keeper:
    """Keeps one child running."""

    def __init__(self, reactor: Any, say: Say, child: Child) -> None:
        self._reactor = reactor
        self._say = say
        self._child = child
        self._run: _Run | None = None
        self._started_at = 0.0
        self._delay_s = RESTART_DELAY_MIN_S
        self._restart: DelayedCall | None = None
        self._kill: DelayedCall | None = None
        self._stopped: defer.Deferred[None] | None = None

    def start(self) -> None:
        self._restart = None
        self._started_at = self._reactor.seconds()
        tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()))
        argv = (*tether, *self._child.argv)
        self._run = _Run(self._heard, self._ended)
        try:
            self._reactor.spawnProcess(self._run, argv[0], argv, env=dict(self._child.env))
        except OSError as error:  # no process or no memory for one: as good as a child that died at once
            self._ended(f"could not be started: {error.strerror}")

    def kill_if_stopping(self) -> None:
        if self._stopped is not None and self._run is not None:
            self._run.signal(signal.SIGKILL)

    def stop(self) -> "defer.Deferred[None]":
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._run is None:
            return defer.succeed(None)
        if self._stopped is None:
            self._stopped = defer.Deferred()
            self._kill = self._reactor.callLater(STOP_DEADLINE_S, self.kill_if_stopping)
            self._run.signal(signal.SIGTERM)
        return self._stopped

    def _heard(self, line: bytes) -> None:
        if not any(noise in line for noise in self._child.noise):
            self._say(self._child.name, line)

    def _ended(self, reason: str) -> None:
        self._run = None
        if self._stopped is not None:
            if self._kill is not None and self._kill.active():
                self._kill.cancel()
            self._stopped.callback(None)
            return
        if self._reactor.seconds() - self._started_at >= STARTED_WELL_S:
            self._delay_s = RESTART_DELAY_MIN_S
        self._say(self._child.name, f"{reason}; starting it again in {self._delay_s:g} s".encode())
        self._restart = self._reactor.callLater(self._delay_s, self.start)
        self._delay_s = min(self._delay_s * 2, RESTART_DELAY_MAX_S)


class _Run(ProcessProtocol):
    """One run of a child: cuts its output into lines and tells how it ended."""

    transport: Any  # IProcessTransport, whose declaration mypy cannot read

    def __init__(self, on_line: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._pid = 0
        self._rest = {1: b"", 2: b""}

    def signal(self, number: int) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)

    def connectionMade(self) -> None:
        self._pid = self.transport.pid
        self.transport.closeStdin()

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
        self._on_end(_how_it_ended(reason.value))


def _how_it_ended(status: Any) -> str:
    if status.signal:
        return f"ended by {signal.Signals(status.signal).name}"
    return f"ended with exit status {status.exitCode}"
