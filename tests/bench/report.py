"""From measurements to medians, ratios to nginx and a table."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

BASELINE = "nginx"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One proxy under one scenario in one round. CPU is of the proxy's whole process tree, for each request."""

    scenario: str
    proxy: str
    round: int
    requests: int
    requests_per_s: float
    cpu_us: float
    user_us: float
    system_us: float
    p50_ms: float
    p99_ms: float
    rss_mib: float


_MEDIANS = ("requests_per_s", "cpu_us", "user_us", "system_us", "p50_ms", "p99_ms", "rss_mib")

Row = dict[str, float | str | None]


def summarise(measurements: Iterable[Measurement]) -> list[Row]:
    """One row for each scenario and proxy, in order of appearance: medians over the rounds, and ratios to nginx.

    A ratio is the median of the ratios within each round, so that a slow spell of the machine hits both sides.
    """
    groups: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        groups[measurement.scenario, measurement.proxy].append(measurement)
    rows = []
    for (scenario, proxy), group in groups.items():
        baseline = {each.round: each.cpu_us for each in groups.get((scenario, BASELINE), ())}
        ratios = [each.cpu_us / baseline[each.round] for each in group if baseline.get(each.round)]
        row: Row = {"scenario": scenario, "proxy": proxy}
        row.update({name: median(getattr(each, name) for each in group) for name in _MEDIANS})
        row["cpu_ratio"] = median(ratios) if ratios else None
        rows.append(row)
    return rows


_COLUMNS = (
    ("cpu_ratio", "x nginx", ".2f"),
    ("cpu_us", "CPU us", ".1f"),
    ("user_us", "user us", ".1f"),
    ("system_us", "sys us", ".1f"),
    ("requests_per_s", "req/s", ".0f"),
    ("p50_ms", "p50 ms", ".2f"),
    ("p99_ms", "p99 ms", ".2f"),
    ("rss_mib", "RSS MiB", ".0f"),
)


def table(rows: Iterable[Row]) -> str:
    """The rows as text, a blank line between scenarios."""
    lines = [f"{'scenario':<12}{'proxy':<9}" + "".join(f"{title:>10}" for _, title, _ in _COLUMNS)]
    previous: object = None
    for row in rows:
        if row["scenario"] != previous:
            lines.append("")
            previous = row["scenario"]
        cells = "".join(f"{'-' if row[key] is None else format(row[key], form):>10}" for key, _, form in _COLUMNS)
        lines.append(f"{row['scenario']:<12}{row['proxy']:<9}{cells}")
    return "\n".join(lines)
