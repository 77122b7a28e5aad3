"""How the health of one upstream is drawn: a timeline and its latency, as what a template needs for an SVG. Pure.

Laws of this module:
- A step of the range is one unit wide. Drawings are stretched to the room there is, so no text is in them.
- Whatever is drawn is also told: each part of a timeline by its title, latency by the rows of a table.
"""

import datetime
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from healthchecks.history import Period, Range
from healthchecks.models import HealthState
from healthchecks.sums import Sums, mean_ms, quantile_ms, total
from healthchecks.uptime import Stretch, worst_of_slots

LATENCY_HEIGHT = 100
# Of the table below a plot: steps in one row, and how its times are written.
_ROWS = {
    Range.HOUR: (10, "%H:%M"),
    Range.DAY: (12, "%d %b %H:%M"),
    Range.WEEK: (12, "%d %b %H:%M"),
    Range.MONTH: (6, "%d %b"),
}
_NAMES = {HealthState.HEALTHY: "Healthy", HealthState.UNHEALTHY: "Unhealthy", HealthState.UNKNOWN: "No data"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a timeline."""

    x: int
    width: int
    state: HealthState
    title: str


@dataclass(frozen=True, slots=True)
class Latency:
    """A plot: the band from the fastest to p95, the mean as a line, and marks where checks failed."""

    top_ms: int
    band: str
    line: str
    failures: list[tuple[float, float]]


def steps_in(range_: Range) -> int:
    """How many steps a range has, which is how wide its drawings are."""
    return int(range_.length.total_seconds()) // range_.step_s


def timeline(found: Sequence[Stretch], period: Period) -> list[Bar]:
    """Equal steps are one bar; of each step the worst is shown."""
    steps = steps_in(period.range)
    states = worst_of_slots(found, since=period.since, until=period.until, slots=steps)
    bars: list[Bar] = []
    x = 0
    for state, group in itertools.groupby(states):
        width = len(list(group))
        bars.append(Bar(x, width, state, _title(state, period, x, width)))
        x += width
    return bars


def _title(state: HealthState, period: Period, x: int, width: int) -> str:
    step = datetime.timedelta(seconds=period.range.step_s)
    since, until = period.since + x * step, period.since + (x + width) * step
    return f"{_NAMES[state]}, {since:%d %b %H:%M} to {until:%d %b %H:%M} UTC"


def latency(points: Sequence[Sums], period: Period) -> Latency | None:
    """None when no check went well."""
    measured = [(point, quantile_ms(point, 0.95)) for point in points]
    highest = max((slow for _, slow in measured if slow is not None), default=None)
    if highest is None:
        return None
    top_ms = _round_top(highest)
    band, line = [], []
    joins_at = None
    since_s, step_s, width = period.since.timestamp(), period.range.step_s, steps_in(period.range)
    edges = [_edges(point, since_s, step_s, width) for point in points]
    for (point, slow), (begin, end) in zip(measured, edges, strict=True):
        mean, fast = mean_ms(point), point.min_ms
        if slow is None or mean is None or fast is None:
            continue
        high, middle, low = (_y(value, top_ms) for value in (max(slow, mean), mean, fast))
        band.append(f"M{begin} {high}H{end}V{low}H{begin}Z")
        # Steps that follow each other are one line; others are not joined over time that nobody measured.
        line.append(f"{f'V{middle}' if joins_at == begin else f'M{begin} {middle}'}H{end}")
        joins_at = end
    failures = [
        (begin, round(end - begin, 2)) for point, (begin, end) in zip(points, edges, strict=True) if point.failures
    ]
    return Latency(top_ms=top_ms, band="".join(band), line="".join(line), failures=failures)


def _edges(point: Sums, since_s: float, step_s: int, width: int) -> tuple[float, float]:
    """Where a point begins and ends. The first step of a range begins before it, the last may end behind it."""
    begin = (point.start_s - since_s) / step_s
    end = begin + point.span_s / step_s
    return round(max(0.0, begin), 2), round(min(end, width), 2)


def _y(value_ms: float, top_ms: int) -> float:
    return round(LATENCY_HEIGHT * (1 - value_ms / top_ms), 1)


def _round_top(highest_ms: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 and so on."""
    power = 1
    while highest_ms > 5 * power:
        power *= 10
    return next(step * power for step in (1, 2, 5) if step * power >= highest_ms)


def table(points: Sequence[Sums], period: Period) -> list[dict[str, Any]]:
    """The same in some rows, the newest first."""
    steps, written = _ROWS[period.range]
    row_s = steps * period.range.step_s
    rows = []
    for start_s, group in itertools.groupby(points, key=lambda point: point.start_s // row_s * row_s):
        sums = total(list(group))
        rows.append(
            {
                "since": datetime.datetime.fromtimestamp(start_s, tz=datetime.UTC).strftime(written),
                "count": sums.count,
                "failures": sums.failures,
                "mean_ms": mean_ms(sums),
                "p95_ms": quantile_ms(sums, 0.95),
                "max_ms": sums.max_ms,
                "codes": sorted(sums.codes.items(), key=lambda item: (-item[1], item[0])),
            }
        )
    return rows[::-1]
