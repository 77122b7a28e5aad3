"""How traffic is drawn: small plots as what a template needs for an SVG.

Laws of this module:
- A step of the window is one unit wide. Drawings are stretched to the room there is, so no text is in them.
- Whatever is drawn is also told: by a title and a description, and by the rows of a table.
"""

import datetime
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from hosts.traffic_statistics.selectors import Point, Series, Sparkline, fleet_series, host_series
from hosts.traffic_statistics.windows import Window

HEIGHT = 100
SPARK_HEIGHT = 20
NOTHING = "\N{EN DASH}"

_SPOKEN = {Window.HOUR: "the last hour", Window.DAY: "the last 24 hours", Window.WEEK: "the last 7 days"}
# How the times of a table and below a plot are written.
_WRITTEN = {Window.HOUR: "%H:%M", Window.DAY: "%d %b %H:%M", Window.WEEK: "%d %b %H:%M"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a plot: `d` of an SVG path. `area` is what lies below it, of a plot that has one line."""

    name: str
    d: str
    area: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One plot. `hosts/traffic_plots.html` draws a list of them as `plots`.

    `name` is one of requests, errors, durations, handshakes; `top` what stands at its upper edge; `latest` what the
    newest whole step says. Both are texts with their units.
    """

    name: str
    title: str
    description: str
    top: str
    latest: str
    width: int
    marks: tuple[str, ...]
    lines: tuple[Line, ...]
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The same in words, for a table."""

    since: str
    requests: str
    requests_per_s: str
    errors: str
    p50: str
    p99: str
    handshakes: str


def fleet_plots(window: Window, *, now_s: float) -> list[Plot]:
    """Requests per second, error rate, p50 and p99, failed handshakes of all hosts. One query."""
    return plots_of(fleet_series(window, now_s=now_s))


def host_plots(host_id: uuid.UUID, window: Window, *, now_s: float) -> list[Plot]:
    """The same of one host. One query."""
    return plots_of(host_series(host_id, window, now_s=now_s))


def plots_of(series: Series) -> list[Plot]:
    """Of what was asked for before. No query."""
    return [
        _plot(series, "requests", "Requests per second", per_s, [("requests", lambda point: point.requests_per_s)]),
        _plot(series, "errors", "Error rate", percent, [("errors", lambda point: point.error_rate)], highest=1.0),
        _plot(
            series,
            "durations",
            "Duration, median and p99",
            milliseconds,
            [("p50", lambda point: point.p50_ms), ("p99", lambda point: point.p99_ms)],
        ),
        _plot(
            series,
            "handshakes",
            "Failed handshakes with upstreams",
            _short,
            [("handshakes", lambda point: point.handshake_failures)],
        ),
    ]


def rows_of(series: Series) -> list[Row]:
    """A few rows, the newest first."""
    return [
        Row(
            since=_written(point.start_s, series.window),
            requests=f"{point.requests:,}",
            requests_per_s=per_s(point.requests_per_s),
            errors=percent(point.error_rate),
            p50=milliseconds(point.p50_ms),
            p99=milliseconds(point.p99_ms),
            handshakes=f"{point.handshake_failures:,} of {point.handshakes:,}",
        )
        for point in reversed(series.rows)
    ]


def sparkline_svg(sparkline: Sparkline) -> SafeString:
    """An inline SVG for a cell of a list, its text being what a screen reader says. No query."""
    if not sparkline.requests:
        return SafeString('<span class="ts-none">no traffic</span>')
    top = max(sparkline.requests_per_s)
    text = f"{sparkline.requests:,} requests in the last 24 hours, {percent(sparkline.error_rate)} errors"
    return format_html(
        '<svg class="ts-spark" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        '<title>{}</title><path d="{}"/></svg>',
        text,
        len(sparkline.requests_per_s),
        SPARK_HEIGHT,
        text,
        _path(sparkline.requests_per_s, top=top, height=SPARK_HEIGHT),
    )


def per_s(value: float | None) -> str:
    """As many digits as say something."""
    return NOTHING if value is None else f"{_short(value)} /s"


def percent(value: float | None) -> str:
    """Of a share."""
    return NOTHING if value is None else f"{_short(100 * value)} %"


def milliseconds(value: float | None) -> str:
    """Seconds, when there are many."""
    if value is None:
        return NOTHING
    return f"{_short(value / 1000)} s" if value >= 1000 else f"{_short(value)} ms"


def _plot(
    series: Series,
    name: str,
    title: str,
    written: Callable[[float], str],
    values: Sequence[tuple[str, Callable[[Point], float | None]]],
    *,
    highest: float | None = None,
) -> Plot:
    drawn = [(line, [value(point) for point in series.points]) for line, value in values]
    found = [number for _, numbers in drawn for number in numbers if number is not None]
    top = _round_top(max(found, default=0))
    if highest is not None:
        top = min(top, highest)
    latest = " / ".join(_told(numbers[-2], written) for _, numbers in drawn)
    reached = f"highest {written(max(found))}, newest {latest}" if found else "no traffic"
    is_single = len(drawn) == 1
    lines = tuple(
        Line(
            name=line,
            d=_path(numbers, top=top),
            area=_path(numbers, top=top, is_area=True) if is_single else "",
        )
        for line, numbers in drawn
    )
    return Plot(
        name=name,
        title=title,
        description=f"{title} in {_SPOKEN[series.window]}: {reached}.",
        top=written(top),
        latest=latest,
        width=len(series.points),
        marks=_marks(series),
        lines=lines,
    )


def _path(numbers: Iterable[float | None], *, top: float, height: int = HEIGHT, is_area: bool = False) -> str:
    """A step for each number; where nothing was measured there is no line."""
    parts: list[str] = []
    is_joined = False
    for x, number in enumerate(numbers):
        if number is None:
            is_joined = False
            continue
        y = round(height * (1 - number / top), 1) if top else float(height)
        if is_area:
            parts.append(f"M{x} {height}V{y:g}H{x + 1}V{height}Z")
        else:
            parts.append(f"{f'V{y:g}' if is_joined else f'M{x} {y:g}'}H{x + 1}")
        is_joined = True
    return "".join(parts)


def _round_top(highest: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 and so on, or of 0.1, 0.2, 0.5 and so on; 1 when there is nothing."""
    if highest <= 0:
        return 1.0
    power = 0.001
    while highest > 5 * power:
        power *= 10
    return next(round(step * power, 6) for step in (1, 2, 5) if step * power >= highest or step == 5)


def _told(value: float | None, written: Callable[[float], str]) -> str:
    return NOTHING if value is None else written(value)


def _marks(series: Series) -> tuple[str, ...]:
    """What stands below a plot: its begin, its middle, its end."""
    first, middle = series.points[0], series.points[len(series.points) // 2]
    return (_written(first.start_s, series.window), _written(middle.start_s, series.window), "now")


def _written(unix_time_s: float, window: Window) -> str:
    return datetime.datetime.fromtimestamp(unix_time_s, tz=datetime.UTC).strftime(_WRITTEN[window])


def _short(value: float) -> str:
    """Three digits at most, but for large numbers."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else "0"
