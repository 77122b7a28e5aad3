"""When a failed exchange may be tried again, and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyworker.errors import RetrySafety
from proxyworker.policy.retry import BUDGET_WINDOW_S, RetryBudget, may_retry
from proxyworker.protocol.request import RequestHead, parse_request
from proxyworker.snapshot import Retries

GET = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
POST = parse_request(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
PUT_BODY = parse_request(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")

NEVER, IDEMPOTENT, UNSAFE = RetrySafety.NEVER_SENT, RetrySafety.IDEMPOTENT, RetrySafety.UNSAFE


@pytest.mark.parametrize(
    ("request_head", "safety", "body_was_sent", "expected"),
    [
        (GET, NEVER, False, True),
        (POST, NEVER, False, True),  # nothing was sent: any method
        (PUT_BODY, NEVER, False, True),
        (PUT_BODY, NEVER, True, False),  # no body is kept
        (GET, IDEMPOTENT, False, True),  # nothing came back
        (POST, IDEMPOTENT, False, False),
        (PUT_BODY, IDEMPOTENT, False, False),
        (GET, UNSAFE, False, False),
    ],
)
def test_may_retry(request_head: RequestHead, safety: RetrySafety, body_was_sent: bool, expected: bool) -> None:
    """What was never sent may; what may have been seen only when repeating does no harm."""
    assert may_retry(request_head, safety, body_was_sent=body_was_sent) is expected


def taken(budget: RetryBudget, now: float, wanted: int = 100_000) -> int:
    """How many of the retries wanted at `now` there are."""
    return sum(budget.take(now) for _ in range(wanted))


def test_a_new_budget_has_its_minimum() -> None:
    """Of the whole window, so that the first failures of a quiet host are repeated."""
    budget = RetryBudget(Retries(budget_percent=20, budget_min_per_s=10), 50.0)
    assert taken(budget, 50.0) == 10 * BUDGET_WINDOW_S


def test_time_and_requests_fill_it() -> None:
    """Both together."""
    budget = RetryBudget(Retries(budget_percent=20, budget_min_per_s=10), 0.0)
    taken(budget, 0.0)
    budget.requests += 50
    assert taken(budget, 2.0) == 2 * 10 + 50 // 5
    assert taken(budget, 2.0) == 0


def test_nothing_is_saved_for_longer_than_the_window() -> None:
    """An idle hour, or a busy one without a failure, earns as much as its last seconds did."""
    idle = RetryBudget(Retries(budget_percent=20, budget_min_per_s=10), 0.0)
    assert taken(idle, 3600.0) == 100
    busy = RetryBudget(Retries(budget_percent=20, budget_min_per_s=0), 0.0)
    busy.requests = 360_000  # 100 in each second
    assert taken(busy, 3600.0) == 200


def test_none_permitted_none_taken() -> None:
    """Zero and zero switch moving on off."""
    budget = RetryBudget(Retries(budget_percent=0, budget_min_per_s=0), 0.0)
    budget.requests = 1000
    assert not budget.take(5.0)


@given(
    percent=st.integers(0, 100),
    minimum=st.integers(0, 20),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 200), st.integers(0, 60)), max_size=30),
)
def test_never_more_than_was_earned(percent: int, minimum: int, steps: list[tuple[float, int, int]]) -> None:
    """In all: the start's share, what the time was worth, and the percentage of the requests."""
    budget = RetryBudget(Retries(budget_percent=percent, budget_min_per_s=minimum), 0.0)
    now, requests, retries = 0.0, 0, 0
    for pause, number, wanted in steps:
        now += pause
        budget.requests += number
        requests += number
        retries += taken(budget, now, wanted)
        assert retries <= minimum * (BUDGET_WINDOW_S + now) + requests * percent / 100 + 1e-6
