"""What a worker counts of each host and minute, until the control plane has it.

Laws of this module:
- Counting is a few additions to the row of the route that a request captured. Nothing here is done for each request but
  by who holds a row (`proxyworker.telemetry`).
- A minute is told by what was counted from its begin on, never by a difference: what is told again or late neither
  doubles nor loses anything. A row counts as told when the feed has taken it.
- Bounded: what the feed does not take for long is added to the minute that follows. Only hosts with traffic have a row.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from proxyworker.errors import Phase, UpstreamError
from proxyworker.net.route import HostRoute
from proxyworker.snapshot import DURATION_BOUNDS_MS, MAX_REPORTED_TRAFFIC, TRAFFIC_COLUMNS, MinuteOfTraffic

MINUTE_S = 60
# Of minutes that are over. Some 700 bytes each.
MAX_ROWS_KEPT = 20_000

REFUSALS = TRAFFIC_COLUMNS.index("refusals")
UPSTREAM_FAILURES = TRAFFIC_COLUMNS.index("upstream_failures")
CERTIFICATES_REFUSED = TRAFFIC_COLUMNS.index("certificates_refused")
HANDSHAKES = TRAFFIC_COLUMNS.index("handshakes")
HANDSHAKE_FAILURES = TRAFFIC_COLUMNS.index("handshake_failures")
FIRST_BUCKET = TRAFFIC_COLUMNS.index(f"upto_{DURATION_BOUNDS_MS[0]}_ms")
BUCKETS_S = tuple(bound / 1000 for bound in DURATION_BOUNDS_MS)

_CLASSES = ("informational", "successes", "redirects", "client_errors", "server_errors")
_REFUSING_STATUSES = frozenset((401, 403, 495, 496))
# The first are not to be, the last are whatever an upstream makes up.
_COLUMN_BY_CLASS = (4, 0, 1, 2, 3, 4, 4, 4, 4, 4)
# By status: where its answers are counted.
COLUMN_OF_STATUS = bytes(
    REFUSALS if status in _REFUSING_STATUSES else TRAFFIC_COLUMNS.index(_CLASSES[_COLUMN_BY_CLASS[status // 100]])
    for status in range(1000)
)
# Codes by which an upstream says that it does not accept the certificate that it was shown.
_CERTIFICATE_REFUSED = "client_certificate_"

# Host and generation of its entry.
Key = tuple[str, int]
ALL_HOSTS: Key = ("", 0)
Row = list[int]


class _Minute:
    """The rows of one minute, and what the feed has of them. `others` is what no host matched.

    `untold` has the keys of those that the feed does not have as they are.
    """

    def __init__(self, start_s: int, part: int) -> None:
        self.start_s = start_s
        self.part = part
        self.rows: dict[Key, Row] = {}
        self.others = _empty()
        self.untold: set[Key] = set()
        self._told: dict[Key, tuple[int, ...]] = {}

    def row(self, key: Key) -> Row:
        """To count in, from now on until the next report."""
        self.untold.add(key)
        return self.others if key == ALL_HOSTS else self.rows.setdefault(key, _empty())

    def news(self) -> Iterator[MinuteOfTraffic]:
        """What the feed does not have; all hosts together come first."""
        if self.untold:
            for key in (ALL_HOSTS, *(self.untold - {ALL_HOSTS})):
                counts = tuple(self._counted(key))
                if any(counts) and counts != self._told.get(key):
                    yield MinuteOfTraffic(
                        host_id=key[0], generation=key[1], start_s=self.start_s, part=self.part, counts=counts
                    )

    def told(self, traffic: MinuteOfTraffic) -> None:
        """The feed has this."""
        key = (traffic.host_id, traffic.generation)
        self._told[key] = traffic.counts
        if key in self.untold and tuple(self._counted(key)) == traffic.counts:
            self.untold.discard(key)

    def take_over(self, earlier: "_Minute") -> None:
        """Count what was not told of `earlier` here."""
        for key in earlier.untold - {ALL_HOSTS}:
            untold = earlier._difference(key)
            _add(self.row(key), untold)
            # What all hosts come to has this in it, but may have been told already.
            _add(self.row(ALL_HOSTS), untold, factor=-1)
        _add(self.row(ALL_HOSTS), earlier._difference(ALL_HOSTS))

    def _difference(self, key: Key) -> Row:
        told = self._told.get(key) or _empty()
        return [number - before for number, before in zip(self._counted(key), told, strict=True)]

    def _counted(self, key: Key) -> Row:
        if key == ALL_HOSTS:
            return list(map(sum, zip(self.others, *self.rows.values(), strict=True)))
        return self.rows[key]


class TrafficStatistics:
    """`unix_time` tells what time it is. `present` has the rows to count in by route; None: no host matched."""

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._minutes = [_Minute(self._minute_s(), 0)]
        self.present: dict[HostRoute | None, Row] = {}

    def begin(self, route: HostRoute | None) -> Row:
        """The row of a route that had no traffic since the last report or the begin of the minute."""
        key = ALL_HOSTS if route is None else (route.host_id, route.generation)
        row = self.present[route] = self._minutes[-1].row(key)
        return row

    def upstream_opened(self, route: HostRoute) -> None:
        """A TLS handshake with an upstream was finished."""
        (self.present.get(route) or self.begin(route))[HANDSHAKES] += 1

    def upstream_failed(self, route: HostRoute, error: UpstreamError) -> None:
        """An attempt at an upstream failed."""
        row = self.present.get(route) or self.begin(route)
        row[UPSTREAM_FAILURES] += 1
        if error.phase is Phase.TLS:
            row[HANDSHAKES] += 1
            row[HANDSHAKE_FAILURES] += 1
        if error.code.startswith(_CERTIFICATE_REFUSED):
            row[CERTIFICATES_REFUSED] += 1

    def tick(self) -> None:
        """To be called every second or so: from the begin of a minute on, another row is counted in."""
        start_s, last = self._minute_s(), self._minutes[-1]
        if start_s == last.start_s:
            return
        # After the clock was set back the same minutes come again, which must not take the place of those that were.
        self._minutes.append(_Minute(start_s, last.part + (start_s < last.start_s)))
        self.present = {}
        while len(self._minutes) > 2 and sum(len(minute.rows) for minute in self._minutes[:-1]) > MAX_ROWS_KEPT:
            earliest = self._minutes.pop(0)
            self._minutes[0].take_over(earliest)

    def to_report(self) -> tuple[MinuteOfTraffic, ...]:
        """What is new since the last report, at most MAX_REPORTED_TRAFFIC, the earliest minute first."""
        # So that what is counted from here on is known to be new, at no cost for each request.
        self.present = {}
        news = (traffic for minute in self._minutes for traffic in minute.news())
        return tuple(islice(news, MAX_REPORTED_TRAFFIC))

    def reported(self, told: Iterable[MinuteOfTraffic]) -> None:
        """The control plane has these."""
        minutes = {(minute.start_s, minute.part): minute for minute in self._minutes}
        for traffic in told:
            if (minute := minutes.get((traffic.start_s, traffic.part))) is not None:
                minute.told(traffic)
        self._minutes = [*(minute for minute in self._minutes[:-1] if minute.untold), self._minutes[-1]]

    def _minute_s(self) -> int:
        return int(self._unix_time()) // MINUTE_S * MINUTE_S


def _empty() -> Row:
    return [0] * len(TRAFFIC_COLUMNS)


def _add(row: Row, other: Row, *, factor: int = 1) -> None:
    for column, number in enumerate(other):
        row[column] += factor * number
