"""The bench of health checks: what it makes of what it observed, its upstreams, and a small run of it."""

import socket
from pathlib import Path

import pytest

from tests.bench import health, health_upstream
from tests.bench.upstream import Material
from tests.bench.usage import Usage
from tests.support.peers import program

SPAN = health.Span(
    begun_at=100.0,
    ended_at=120.0,
    used=Usage(user_s=4.0, system_s=1.0, rss_bytes=2**20),
    waited_s=2.0,
    oldest_feed_s=1.5,
)


def results(at: float, *checks: list[object]) -> dict[str, object]:
    return {"kind": "results", "at": at, "wall_s": 0.02, "cpu_s": 0.01, "checks": list(checks)}


def test_lateness_is_from_due_to_begun() -> None:
    """Of the wanted upstreams, by when their checks were due; what has no result is missing."""
    lines = [
        results(99.0, ["a", 98.0, 98.1, ""]),
        results(101.0, ["a", 100.5, 100.75, ""], ["other", 100.5, 109.0, ""]),
        results(125.0, ["b", 119.0, 119.5, "timeout"], ["b", 109.0, None, "held up"]),
        {"kind": "sweep", "at": 110.0, "wall_s": 0.2, "cpu_s": 0.05},
    ]
    found = health.figures(lines, SPAN, ["a", "b"])
    assert (found["checks"], found["missing"], found["codes"]) == (3, 1, {"": 1, "timeout": 1, "held up": 1})
    assert (found["late_ms_median"], found["late_ms_max"]) == (500.0, 500.0)
    assert (found["cpu_share"], found["waited_share"], found["cpu_ms_per_check"]) == (0.25, 0.1, 2500.0)
    assert (found["sweep_ms_max"], found["feed_age_s_max"], found["rss_mib"]) == (200.0, 1.5, 1.0)


def test_a_table_has_a_line_for_each_measurement() -> None:
    """Also when nothing was observed."""
    row = health.figures([], SPAN, ["a"])
    lines = health.table({"alone": row, "beside_hanging": row, "hanging": row}).splitlines()
    assert [line.split()[0] for line in lines] == ["health", "alone", "beside_hanging", "hanging"]


def test_half_of_what_hangs_takes_connections_and_half_does_not() -> None:
    """Neither says anything."""
    with health_upstream.hanging(4) as (silent, black_hole, *others):
        assert others == [silent, black_hole]
        with socket.create_connection(silent, timeout=5) as connection:
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        with pytest.raises(TimeoutError):
            socket.create_connection(black_hole, timeout=0.1)


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_small_run(tmp_path: Path) -> None:
    """All upstreams that answer are found well, beside those that hang."""
    program("nginx")
    material = Material(tmp_path / "material")
    result = health.measure(tmp_path / "h", material, upstreams=8, seconds=health.INTERVAL_S)
    for name in ("alone", "beside_hanging"):
        assert set(result[name]["codes"]) == {""}
    assert set(result["hanging"]["codes"]) == {"timeout"}
