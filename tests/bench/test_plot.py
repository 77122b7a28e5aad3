"""The picture of the figures."""

from pathlib import Path

from tests.bench.plot import plot
from tests.bench.report import summarise
from tests.bench.test_report import ROUNDS, measured


def test_a_png_is_written_with_and_without_a_baseline(tmp_path: Path) -> None:
    """Whatever was measured."""
    for rounds in (ROUNDS, [measured("aegis", 0, 20.0)]):
        plot(summarise(rounds), tmp_path / "bench.png")
        assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
