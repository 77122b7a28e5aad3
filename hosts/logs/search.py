"""Searches files backwards, newest lines first, and says where to go on.

How it is done:
1. Each file has a bound: no line of it that was not read yet is newer. At first it is the time of its last change.
2. The file with the newest bound is read by one more piece, from its end towards its begin; what is wanted of the piece
   waits. So files that are older than what is shown are not even opened.
3. What waits is shown as soon as it is newer than every bound, in the order of keys.
4. That ends with enough lines, or when the time or the bytes are used up. The cursor is then the key of the last line
   shown, or the newest bound: everything newer was looked at.

Laws of this module:
- A key is time, file and place: `LogEntry.key`. It stays the same when a file is rotated, for it names the file by its
  host and its first line; so a cursor needs no memory here, and opens nothing.
- Several processes write a file, each a while after the fact, so its lines are in order but for DISORDER_MS.
- To go on at a time, a file's place is found by bisection: a later page costs what the first one does.
"""

import datetime
import hashlib
import heapq
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from aegis_site.kernel.errors import AegisError
from hosts.logs.entries import (
    IN_EACH_COMBINED_LINE,
    MAX_LINE_BYTES,
    MAX_TIME_MS,
    LogEntry,
    entry_of,
    moment,
    time_of,
)
from hosts.logs.files import LogFile
from hosts.logs.filters import LogFilter

DEADLINE_S = 2.0
MAX_BYTES = 512 * 1024 * 1024
PIECE_BYTES = 256 * 1024
# A line is written a tick after the fact, and later when the disk is slow.
DISORDER_MS = 3_000
# So much without a single line is no log, or has a hole: what is older in that file is left out.
MAX_BARREN_BYTES = 8 * 1024 * 1024

# Each takes one processor for its time; web threads that only show pages go on beside these.
MAX_AT_ONCE = 3
PATIENCE_S = 4.0
RETRY_AFTER_S = 5

KEY_PATTERN = "[0-9]{13}-[0-9a-f]{8}-[0-9]{13}-[0-9]{15}"
is_key = re.compile(KEY_PATTERN).fullmatch

_places = threading.BoundedSemaphore(MAX_AT_ONCE)


class TooManySearches(AegisError):
    """MAX_AT_ONCE are on their way, for PATIENCE_S already; `wait_s` is how long to wait."""

    wait_s = RETRY_AFTER_S

    def __init__(self) -> None:
        super().__init__("too_many_searches", f"Many logs are being searched. Try again in {RETRY_AFTER_S} seconds.")


@dataclass(frozen=True, slots=True)
class Found:
    """The newest wanted lines, newest first.

    `cursor` goes on behind them; empty: there are no more. `searched_to`: everything newer was looked at.
    """

    entries: list[LogEntry]
    cursor: str = ""
    searched_to: datetime.datetime | None = None


class Search:
    """One search of these files. `before` and `after` are keys: only lines between them are found.

    Reads no more than `max_bytes` (and a piece) and takes no longer than `deadline_s` (and a piece) until the end of
    `entries()`, which may be asked once.
    """

    def __init__(
        self,
        files: Iterable[LogFile],
        wanted: LogFilter,
        *,
        before: str = "",
        after: str = "",
        deadline_s: float = DEADLINE_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._before, self._after = before, after
        oldest_ms = max(_ms(wanted.since) or 0, _time_in(after) or 0)
        newest_ms = min(_or_latest(_ms(wanted.until)), _or_latest(_time_in(before)))
        sources = (_Source(file, wanted, oldest_ms=oldest_ms, newest_ms=newest_ms) for file in files)
        # Ties are broken by a number: neither sources nor entries have an order.
        self._sources = [
            (-source.bound_ms, number, source) for number, source in enumerate(sources) if not source.is_over
        ]
        heapq.heapify(self._sources)
        self._waiting: list[tuple[_Reversed, int, LogEntry]] = []
        self._numbers = count()
        self._until_s = time.monotonic() + deadline_s
        self._bytes_left = max_bytes
        self.is_out_of_time = False

    def entries(self) -> Iterator[LogEntry]:
        """The lines, newest first."""
        while True:
            bound_ms = self.bound_ms
            while self._waiting and self._waiting[0][2].time_ms > bound_ms:
                yield heapq.heappop(self._waiting)[2]
            if not self._sources:
                return
            if time.monotonic() > self._until_s or self._bytes_left <= 0:
                self.is_out_of_time = True
                return
            _, number, source = heapq.heappop(self._sources)
            for entry in source.read():
                if (not self._before or entry.key < self._before) and entry.key > self._after:
                    heapq.heappush(self._waiting, (_Reversed(entry.key), next(self._numbers), entry))
            self._bytes_left -= source.last_bytes
            if not source.is_over:
                heapq.heappush(self._sources, (-source.bound_ms, number, source))

    @property
    def bound_ms(self) -> int:
        """No line that is still to be looked at is newer; -1: there is none."""
        return -self._sources[0][0] if self._sources else -1


class _Reversed(str):
    """A key whose order is the other way round, for a heap that has the newest on top."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def search(
    files: Sequence[LogFile],
    wanted: LogFilter,
    *,
    before: str = "",
    after: str = "",
    limit: int = 100,
    deadline_s: float = DEADLINE_S,
    max_bytes: int = MAX_BYTES,
) -> Found:
    """The newest `limit` wanted lines between these keys. Raises TooManySearches."""
    with _place():
        run = Search(files, wanted, before=before, after=after, deadline_s=deadline_s, max_bytes=max_bytes)
        entries = list[LogEntry]()
        for entry in run.entries():
            # One more than is shown: so it is known whether there are any.
            if len(entries) == limit:
                return Found(entries, cursor=entries[-1].key, searched_to=entries[-1].time)
            entries.append(entry)
    if not run.is_out_of_time:
        return Found(entries)
    searched_ms = min(run.bound_ms + 1, MAX_TIME_MS)
    return Found(entries, cursor=f"{searched_ms:013d}-{0:08x}-{0:013d}-{0:015d}", searched_to=moment(searched_ms))


@contextmanager
def _place() -> Iterator[None]:
    places = _places
    if not places.acquire(timeout=PATIENCE_S):
        raise TooManySearches
    try:
        yield
    finally:
        places.release()


class _Source:
    """One file, of which `end` is how far it has to be read still. Lines of `newest_ms` and later are not wanted."""

    def __init__(self, file: LogFile, wanted: LogFilter, *, oldest_ms: int, newest_ms: int) -> None:
        self._file = file
        self._wanted = wanted
        self._needles = wanted.needles(file.name.kind)
        self._oldest_ms = oldest_ms - DISORDER_MS
        self._newest_ms = newest_ms
        self._end: int | None = None
        self._born_ms = 0
        self._barren_bytes = 0
        self.bound_ms = min(file.modified_ms + DISORDER_MS, newest_ms)
        self.is_over = self.bound_ms < oldest_ms
        # Of the last piece that was read.
        self.last_bytes = 0

    def read(self) -> list[LogEntry]:
        """What is wanted of one more piece, the oldest first."""
        if self._end is None:
            self._end = self._begin()
        start = max(0, self._end - PIECE_BYTES)
        data = self._file.read(start, self._end)
        self.last_bytes = len(data)
        # What stands before the first line's end began in the piece before; the last line may be unfinished.
        begin = 0 if start == 0 else data.find(b"\n") + 1
        lines = data[begin : data.rfind(b"\n") + 1]
        if not lines:
            self._go_on_to(start, None)
            return []
        first = start + begin
        self._go_on_to(first, next((at for at in map(time_of, lines[: 4 * MAX_LINE_BYTES].split(b"\n")) if at), None))
        return list(self._wanted_of(lines, first)) if self._may_hold_any(lines) else []

    def _begin(self) -> int:
        """Where reading begins: behind the last line that may be wanted."""
        head = self._file.read(0, MAX_LINE_BYTES)
        self._born_ms = min(time_of(head) or 0, MAX_TIME_MS)
        size = self._file.size
        if self._newest_ms > self._file.modified_ms:
            return size
        low, high = 0, size
        while high - low > PIECE_BYTES:
            middle = (low + high) // 2
            at = self._time_behind(middle)
            # A hole counts as older: it is at the begin, where a file was cut off under its writer.
            low, high = (low, middle) if at is not None and at >= self._newest_ms + DISORDER_MS else (middle, high)
        return high + self._file.read(high, high + MAX_LINE_BYTES).find(b"\n") + 1

    def _time_behind(self, offset: int) -> int | None:
        """Of the first whole line behind this place."""
        data = self._file.read(offset, offset + 2 * MAX_LINE_BYTES)
        return next((at for at in map(time_of, data.split(b"\n")[1:]) if at is not None), None)

    def _go_on_to(self, end: int, oldest_ms: int | None) -> None:
        """The piece is read whose first line is of this time."""
        if oldest_ms is None:
            self._barren_bytes += PIECE_BYTES
        else:
            self._barren_bytes = 0
            self.bound_ms = min(self.bound_ms, oldest_ms + DISORDER_MS)
        self._end = end
        is_too_old = self.bound_ms - DISORDER_MS < self._oldest_ms
        self.is_over = end == 0 or is_too_old or self._barren_bytes > MAX_BARREN_BYTES

    def _may_hold_any(self, lines: bytes) -> bool:
        """False when a look at the whole piece is enough: all is JSON, and nothing in it is what is asked for."""
        return all(needle in lines for needle in self._needles) or IN_EACH_COMBINED_LINE in lines

    def _wanted_of(self, lines: bytes, offset: int) -> Iterator[LogEntry]:
        for line in lines.split(b"\n"):
            if not line.startswith(b"{") or all(needle in line for needle in self._needles):
                entry = self._entry(line, offset)
                if entry is not None and self._wanted.wants(entry):
                    yield entry
            offset += len(line) + 1

    def _entry(self, line: bytes, offset: int) -> LogEntry | None:
        time_ms = time_of(line)
        if time_ms is None or not self._oldest_ms <= time_ms <= self._newest_ms:
            return None
        name = self._file.name
        place = f"{_digest(name.stem, name.kind)}-{self._born_ms:013d}-{offset:015d}"
        return entry_of(line, file=name, key=f"{time_ms:013d}-{place}", time_ms=time_ms)


def _digest(stem: str, kind: str) -> str:
    """Eight hexadecimal digits: which file it is, whatever its number."""
    return hashlib.sha256(f"{stem} {kind}".encode()).hexdigest()[:8]


def _ms(at: datetime.datetime | None) -> int | None:
    return None if at is None else max(0, min(int(at.timestamp() * 1000), MAX_TIME_MS))


def _time_in(key: str) -> int | None:
    return int(key[:13]) if key else None


def _or_latest(time_ms: int | None) -> int:
    return MAX_TIME_MS if time_ms is None else time_ms
