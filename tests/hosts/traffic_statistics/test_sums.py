"""What samples come to together."""

import random

import pytest

from hosts.traffic_statistics.sums import Counts, together
from proxyworker.snapshot import DURATION_BOUNDS_MS, TRAFFIC_COLUMNS


def counts(**columns: int) -> Counts:
    return Counts(tuple(columns.get(column, 0) for column in TRAFFIC_COLUMNS))


def test_every_answer_is_a_request() -> None:
    """Of any class; failures and handshakes are none. Only 5xx are errors."""
    one = counts(informational=1, successes=10, redirects=2, client_errors=3, refusals=4, server_errors=5)
    both = together([one, counts(upstream_failures=7, handshakes=9, upto_1_ms=25)])
    assert (one.requests, both.requests, both.error_rate) == (25, 25, 0.2)
    assert counts(upstream_failures=1).error_rate is None
    assert together([]).requests == 0


@pytest.mark.parametrize(
    ("columns", "share", "wanted"),
    [
        ({}, 0.99, None),
        ({"upto_10_ms": 100}, 0.5, 7.5),
        ({"upto_10_ms": 100}, 0.99, 9.95),
        ({"upto_1_ms": 99, "upto_1000_ms": 1}, 0.99, 1.0),
        ({"upto_1_ms": 98, "upto_1000_ms": 2}, 0.99, 750.0),
        ({"slower": 1}, 0.99, 30000.0),
    ],
)
def test_quantiles_are_read_from_the_histogram(columns: dict[str, int], share: float, wanted: float | None) -> None:
    """As if those between two bounds were evenly spread; above the last bound nothing is known."""
    assert counts(**columns).quantile_ms(share) == wanted


def test_p99_is_right_within_the_bounds_around_it() -> None:
    """Of durations as they occur."""
    chance = random.Random(1)
    durations = sorted(chance.lognormvariate(2.5, 1.0) for _ in range(20_000))
    columns: dict[str, int] = {}
    for duration in durations:
        bound = next(bound for bound in DURATION_BOUNDS_MS if duration <= bound)
        columns[f"upto_{bound}_ms"] = columns.get(f"upto_{bound}_ms", 0) + 1
    for share in (0.5, 0.99):
        exact = durations[int(share * len(durations))]
        low = max((bound for bound in DURATION_BOUNDS_MS if bound < exact), default=0)
        high = min(bound for bound in DURATION_BOUNDS_MS if bound >= exact)
        found = counts(**columns).quantile_ms(share)
        assert found is not None
        assert low <= found <= high
        assert found == pytest.approx(exact, rel=0.5)
