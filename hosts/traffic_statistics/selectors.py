"""How much traffic there was, how much of it failed, and how long it took.

Laws of this module: a constant number of queries, whatever the number of hosts and workers; what an answer holds is
bounded by its window. A rate of nothing is None, a step without traffic has zero requests.
"""

import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hosts.traffic_statistics.models import ALL_HOSTS, TrafficSample
from hosts.traffic_statistics.sums import ANSWERS, Counts, summed, summed_all, together
from hosts.traffic_statistics.windows import MINUTE_S, Steps, Window
from proxyworker.snapshot import TRAFFIC_COLUMNS

NOTHING = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of a series. `start_s` is in seconds of Unix time; the last step's `length_s` is what has run of it.

    `error_rate` is the share of 5xx among the answers. Quantiles are of requests that an upstream was asked for, and
    right within the bounds of the histogram. `handshakes` are those with upstreams, `handshake_failures` among them.
    """

    start_s: int
    length_s: float
    requests: int
    requests_per_s: float
    client_errors: int
    server_errors: int
    error_rate: float | None
    p50_ms: float | None
    p99_ms: float | None
    upstream_failures: int
    handshakes: int
    handshake_failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The points of a window, the oldest first, none left out; the same in a few rows; and all of them as one."""

    window: Window
    points: tuple[Point, ...]
    rows: tuple[Point, ...]
    total: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline:
    """Requests per second of one host in each ten minutes of the last day, and what they come to."""

    requests_per_s: tuple[float, ...]
    requests: int
    error_rate: float | None


def fleet_series(window: Window, *, now_s: float) -> Series:
    """All hosts together, and what no host matched. One query."""
    return host_series(ALL_HOSTS, window, now_s=now_s)


def host_series(host_id: uuid.UUID, window: Window, *, now_s: float) -> Series:
    """One host. One query."""
    steps = Steps.ending(now_s, window)
    found = _summed([host_id], steps)
    counts = [(start_s, end_s, found.get((host_id, start_s), NOTHING)) for start_s, end_s in _edges(steps)]
    rows = [list(group) for _, group in itertools.groupby(counts, key=lambda step: step[0] // window.row_s)]
    return Series(
        window=window,
        points=tuple(_together([step]) for step in counts),
        rows=tuple(_together(row) for row in rows),
        total=_together(counts),
    )


def sparklines(host_ids: Sequence[uuid.UUID], *, now_s: float) -> dict[uuid.UUID, Sparkline]:
    """Of each of these hosts, such as those of a page of a list, one without traffic too. One query."""
    steps = Steps.ending(now_s, Window.DAY)
    found = _summed(host_ids, steps, columns=ANSWERS)
    sparks = {}
    for host_id in host_ids:
        counts = [found.get((host_id, start_s), NOTHING) for start_s in steps.starts]
        rates = tuple(_rate(one, end_s - start_s) for one, (start_s, end_s) in zip(counts, _edges(steps), strict=True))
        total = together(counts)
        sparks[host_id] = Sparkline(requests_per_s=rates, requests=total.requests, error_rate=total.error_rate)
    return sparks


def current_rates(*, now_s: float) -> Point:
    """All hosts together in the last whole minute. One query."""
    start_s = (int(now_s) // MINUTE_S - 1) * MINUTE_S
    rows = TrafficSample.objects.filter(host_id=ALL_HOSTS, span_s=MINUTE_S, start_s=start_s)
    return point_of(summed_all(rows), start_s=start_s, until_s=start_s + MINUTE_S)


def point_of(counts: Counts, *, start_s: int, until_s: float) -> Point:
    """What was counted in that time."""
    return Point(
        start_s=start_s,
        length_s=until_s - start_s,
        requests=counts.requests,
        requests_per_s=_rate(counts, until_s - start_s),
        client_errors=counts.of("client_errors") + counts.of("refusals"),
        server_errors=counts.of("server_errors"),
        error_rate=counts.error_rate,
        p50_ms=counts.quantile_ms(0.5),
        p99_ms=counts.quantile_ms(0.99),
        upstream_failures=counts.of("upstream_failures"),
        handshakes=counts.of("handshakes"),
        handshake_failures=counts.of("handshake_failures"),
    )


def _together(steps: Sequence[tuple[int, float, Counts]]) -> Point:
    counts = together([counts for _, _, counts in steps])
    return point_of(counts, start_s=steps[0][0], until_s=steps[-1][1])


def _summed(
    host_ids: Sequence[uuid.UUID], steps: Steps, *, columns: Sequence[str] = TRAFFIC_COLUMNS
) -> dict[tuple[uuid.UUID, int], Counts]:
    rows = TrafficSample.objects.filter(host_id__in=host_ids, start_s__gte=steps.since_s, start_s__lte=steps.until_s)
    return summed(rows, step_s=steps.window.step_s, columns=columns)


def _edges(steps: Steps) -> Iterator[tuple[int, float]]:
    for start_s in steps.starts:
        yield start_s, min(start_s + steps.window.step_s, steps.until_s)


def _rate(counts: Counts, length_s: float) -> float:
    # The step that runs may have begun this moment.
    return round(counts.requests / max(length_s, 1.0), 3)
