"""The figures as one picture: for each scenario the CPU per request of every proxy, nginx being 1."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no display

from matplotlib.figure import Figure

from tests.bench.report import BASELINE, Row

_COLUMNS = 4


def plot(rows: Sequence[Row], path: Path) -> None:
    """Writes a PNG. Without a baseline the bars are microseconds."""
    scenarios = list(dict.fromkeys(str(row["scenario"]) for row in rows))
    key, label = (
        ("cpu_ratio", f"CPU, {BASELINE} = 1") if any(row["cpu_ratio"] for row in rows) else ("cpu_us", "CPU us")
    )
    lines = -(-len(scenarios) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.8 * lines), layout="constrained")
    for number, scenario in enumerate(scenarios, 1):
        axes = figure.add_subplot(lines, _COLUMNS, number)
        of_it = [row for row in rows if row["scenario"] == scenario]
        names = [str(row["proxy"]) for row in of_it]
        colours = ["tab:blue" if name.startswith("aegis") else "tab:gray" for name in names]
        bars = axes.bar(names, [float(row[key] or 0) for row in of_it], color=colours)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
        axes.set_title(scenario)
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(axis="x", rotation=45, labelsize=8)
        axes.margins(y=0.15)
    figure.savefig(path, dpi=120)
