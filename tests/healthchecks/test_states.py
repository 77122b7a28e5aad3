"""states: how the state of an upstream moves, and when its next check is due."""

import datetime

import pytest

from healthchecks.models import HealthState
from healthchecks.states import Standing, advanced, next_due
from tests.healthchecks.examples import NOW

UNKNOWN, HEALTHY, UNHEALTHY = HealthState.UNKNOWN, HealthState.HEALTHY, HealthState.UNHEALTHY


@pytest.mark.parametrize(
    ("state", "checks", "expected"),
    [
        (UNKNOWN, "+", UNKNOWN),
        (UNKNOWN, "++", HEALTHY),
        (UNKNOWN, "--", UNKNOWN),
        (UNKNOWN, "---", UNHEALTHY),
        (HEALTHY, "--", HEALTHY),
        (HEALTHY, "--+--", HEALTHY),
        (HEALTHY, "---", UNHEALTHY),
        (UNHEALTHY, "+-+", UNHEALTHY),
        (UNHEALTHY, "++", HEALTHY),
    ],
)
def test_a_state_changes_when_enough_checks_agree(state: HealthState, checks: str, expected: HealthState) -> None:
    """Two successes or three failures in a row; what lies between begins anew."""
    standing = Standing(state=state, successes=0, failures=0)
    for sign in checks:
        standing = advanced(standing, is_ok=sign == "+", healthy_after=2, unhealthy_after=3)
    assert standing.state == expected


@pytest.mark.parametrize(("elapsed_s", "expected_s"), [(-1, 10), (0, 10), (5, 10), (10, 20), (39, 40), (40, 50)])
def test_checks_keep_their_phase(elapsed_s: int, expected_s: int) -> None:
    """The next one is a whole number of intervals after the last, however late that was."""
    found = next_due(NOW, interval_s=10, now=NOW + datetime.timedelta(seconds=elapsed_s))
    assert found == NOW + datetime.timedelta(seconds=expected_s)
