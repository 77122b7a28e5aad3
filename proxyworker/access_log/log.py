"""The way of a record to its sink: a list, lines made in slices, a thread that writes them.

Laws of this module:
- `add` is all that a request pays. Lines are made between events, SLICE_RECORDS at a time, so that no request waits
  for those of others; only write(2) and its like happen in the thread.
- Bounded everywhere: MAX_RECORDS wait for their lines, MAX_WAITING_BYTES of lines for the thread. What is over is
  dropped and counted.
- A sink that fails is told of once, until it works again.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from proxyworker.access_log.files import Directory, Sink, StandardOutput
from proxyworker.access_log.lines import Form, failure_line, line_maker
from proxyworker.net.telemetry import FailedAttempt, Record

log = logging.getLogger("aegis.proxy")

MAX_RECORDS = 16_384  # a tick's worth at far more requests than one process answers
MAX_WAITING_BYTES = 16 * 1024 * 1024
SLICE_RECORDS = 100  # about half a millisecond

# Lines by the name of their host.
Lines = dict[str, list[bytes]]

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogSettings:
    """Where the lines go. A file is rotated when it would grow over `max_bytes`; `backups` older ones are kept."""

    destination: Path | Literal["off", "stdout"] = "off"
    form: Form = "json"
    max_bytes: int = 100 * 1024 * 1024
    backups: int = 5

    def sink(self) -> Sink | None:
        """What takes the lines; None: there are none."""
        if isinstance(self.destination, Path):
            return Directory(self.destination, max_bytes=self.max_bytes, backups=self.backups)
        return StandardOutput() if self.destination == "stdout" else None

    def errors_sink(self) -> Sink | None:
        """What takes the lines of failed attempts. None: standard output has the worker's own lines about them."""
        if not isinstance(self.destination, Path):
            return None
        return Directory(self.destination, max_bytes=self.max_bytes, backups=self.backups, kind="errors")


class LineLog(Generic[R]):
    """A log of one process. `clock` is that of the records, `unix_time` tells what time it is.

    `line` makes the line of a record, `host_of` tells whose it is, and `name` is what the log is called when it cannot
    be written. `soon(function)` calls it in the loop's next turn.
    """

    def __init__(
        self,
        sink: Sink,
        name: str,
        *,
        line: Callable[[R, float], bytes],
        host_of: Callable[[R], str],
        clock: Callable[[], float],
        unix_time: Callable[[], float],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._name = name
        self._line = line
        self._host_of = host_of
        self._clock = clock
        self._unix_time = unix_time
        self._soon = soon
        self._records: list[R] = []
        self._is_at_work = False
        self._lines: Lines = {}
        self._waiting_bytes = 0
        self._dropped = 0
        self._has_failed = False
        self._writer = Writer(sink, name)

    @property
    def dropped_count(self) -> int:
        """How many lines are missing since the start."""
        return self._dropped + self._writer.lost_count

    def add(self, record: R) -> None:
        """It is to get a line."""
        if len(self._records) < MAX_RECORDS:
            self._records.append(record)
        else:
            self._dropped += 1

    def tick(self) -> None:
        """To be called every TICK_S: makes the lines of what was added, and has them written."""
        if not self._is_at_work:
            self._is_at_work = True
            self._work()

    def close(self, within_s: float) -> None:
        """Makes and writes all that is left; what a sink does not take in this time is lost."""
        while self._records:
            self._make_lines()
        if self._lines:
            self._writer.write(self._taken())
        self._writer.close(within_s)

    def _work(self) -> None:
        if self._records:
            self._make_lines()
        if self._records:
            self._soon(self._work)
            return
        self._is_at_work = False
        if self._lines and not self._writer.is_busy:
            self._writer.write(self._taken())

    def _make_lines(self) -> None:
        records = self._records[:SLICE_RECORDS]
        del self._records[:SLICE_RECORDS]
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._dropped += len(records)
            return
        epoch_s = self._unix_time() - self._clock()
        line, host_of, lines, size = self._line, self._host_of, self._lines, 0
        for record in records:
            try:
                made = line(record, epoch_s)
            except Exception:  # a record that no line can be made of must not end the log
                self._dropped += 1
                if not self._has_failed:
                    log.exception("a line of the %s could not be made", self._name)
                self._has_failed = True
                continue
            size += len(made)
            lines.setdefault(host_of(record), []).append(made)
        self._waiting_bytes += size

    def _taken(self) -> Lines:
        lines, self._lines = self._lines, {}
        self._waiting_bytes = 0
        return lines


class AccessLog(LineLog[Record]):
    """The access log of one process: a line for each answered request. Arguments as for `LineLog`."""

    def __init__(self, sink: Sink, form: Form, **clocks: Any) -> None:
        super().__init__(sink, "access log", line=line_maker(form), host_of=itemgetter(5), **clocks)


class ErrorLog(LineLog[FailedAttempt]):
    """The error log of one process: a line for each failed attempt at an upstream. Arguments as for `LineLog`."""

    def __init__(self, sink: Sink, **clocks: Any) -> None:
        super().__init__(sink, "error log", line=failure_line, host_of=itemgetter(1), **clocks)


class Writer:
    """The thread. A daemon: a disk that hangs must not keep the process from ending."""

    def __init__(self, sink: Sink, log_name: str) -> None:
        self.lost_count = 0
        self.is_busy = False
        self._sink = sink
        self._log_name = log_name
        self._has_failed = False
        self._jobs: queue.SimpleQueue[Lines | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=log_name.replace(" ", "-"), daemon=True)
        self._thread.start()

    def write(self, lines: Lines) -> None:
        """Has them written, in their order."""
        self.is_busy = True
        self._jobs.put(lines)

    def close(self, within_s: float) -> None:
        """Ends the thread when all is written, or leaves it to itself."""
        self._jobs.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while (lines := self._jobs.get()) is not None:
            for host, of_host in lines.items():
                self._write(host, of_host)
            self.is_busy = not self._jobs.empty()
        self._sink.close()

    def _write(self, host: str, lines: list[bytes]) -> None:
        for piece in _pieces(lines, self._sink.max_piece_bytes):
            try:
                self._sink.write(host, piece)
            except OSError as error:
                self.lost_count += piece.count(b"\n")
                if not self._has_failed:
                    log.error("%s cannot be written, its lines are lost: %s", self._log_name, error.strerror)
                self._has_failed = True
            else:
                if self._has_failed:
                    log.info("%s is written again", self._log_name)
                self._has_failed = False


def _pieces(lines: list[bytes], limit: int) -> list[bytes]:
    """The lines in pieces of at most `limit` bytes; a longer line is a piece of its own."""
    pieces: list[bytes] = []
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > limit:
            pieces.append(b"".join(piece))
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    pieces.append(b"".join(piece))
    return pieces
