"""When traffic takes an upstream out, and what brings it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyworker.policy.health import UpstreamState, retry_after_s
from proxyworker.snapshot import PassiveHealth

RULES = PassiveHealth(max_failures=3, backoff_s=1.0, backoff_max_s=5.0)


def begin(state: UpstreamState, request: object) -> None:
    """As an exchange does it."""
    state.in_flight += 1
    if state.out_until:
        state.begin_trial(request)


def fail(state: UpstreamState, now: float, rules: PassiveHealth = RULES) -> bool:
    """One request that fails."""
    request = object()
    begin(state, request)
    went_out = state.failed(request, rules, now)
    state.end(request)
    return went_out


def out(now: float = 0.0) -> UpstreamState:
    """One that has just gone out."""
    state = UpstreamState()
    assert [fail(state, now) for _ in range(3)] == [False, False, True]
    return state


def test_failures_in_a_row_take_it_out() -> None:
    """The third of three, not before; then nothing is admitted until the back-off is over."""
    state = UpstreamState()
    assert [(fail(state, 10.0), state.admits(10.0)) for _ in range(3)] == [(False, True), (False, True), (True, False)]
    assert not state.admits(10.9)
    assert state.admits(11.0)


def test_a_success_in_between_starts_the_count_again() -> None:
    """Only failures in a row say that the upstream is down."""
    state = UpstreamState()
    for _ in range(5):
        fail(state, 0.0)
        fail(state, 0.0)
        assert not state.succeeded(object())
    assert state.admits(0.0)


def test_zero_means_never() -> None:
    """Whatever happens."""
    state = UpstreamState()
    assert not any(fail(state, 0.0, PassiveHealth(max_failures=0)) for _ in range(100))
    assert state.admits(0.0)


def test_backoff_doubles_up_to_its_maximum() -> None:
    """With each trial that fails; none of those is news."""
    state, now, waits = out(0.0), 0.0, []
    for _ in range(5):
        waits.append(state.out_until - now)
        now = state.out_until
        assert not fail(state, now)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_first_backoff_over_the_maximum_is_cut() -> None:
    """The maximum holds from the beginning."""
    state = UpstreamState()
    fail(state, 0.0, PassiveHealth(max_failures=1, backoff_s=9.0, backoff_max_s=2.0))
    assert state.out_until == 2.0


def test_one_trial_at_a_time() -> None:
    """Its success brings the upstream back with a clean record."""
    state = out()
    trial = object()
    begin(state, trial)
    assert not state.admits(99.0)
    assert state.succeeded(trial)
    state.end(trial)
    assert state.admits(1.0)
    assert [fail(state, 99.0) for _ in range(3)] == [False, False, True]
    assert state.out_until == 100.0


def test_a_trial_without_outcome_leaves_the_next_to_be_one() -> None:
    """Its client left."""
    state = out()
    trial = object()
    begin(state, trial)
    state.end(trial)
    assert state.admits(1.0)


@pytest.mark.parametrize("now", [0.5, 5.0])
def test_what_was_begun_before_decides_nothing(now: float) -> None:
    """A hundred requests that die with their upstream are one event; an answer from before the fall is old news."""
    state = UpstreamState()
    earlier = [object() for _ in range(10)]
    for request in earlier:
        begin(state, request)
    for request in earlier[:3]:
        state.failed(request, RULES, 0.0)
    if now > state.out_until:
        begin(state, "trial")
    until = state.out_until
    for request in earlier[3:8]:
        assert not state.failed(request, RULES, now)
    assert not state.succeeded(earlier[8])
    assert state.out_until == until
    assert state.failures == 3


@given(st.lists(st.tuples(st.sampled_from(["fail", "succeed", "leave"]), st.floats(0, 3)), max_size=60))
def test_whatever_happens_it_comes_back(events: list[tuple[str, float]]) -> None:
    """Nothing stays in flight, no back-off is longer than the maximum, and it is admitted when that is over."""
    state, now = UpstreamState(), 1.0
    for outcome, pause in events:
        now += pause
        if not state.admits(now):
            continue
        request = object()
        begin(state, request)
        if outcome == "fail":
            state.failed(request, RULES, now)
        elif outcome == "succeed":
            state.succeeded(request)
            assert state.failures == state.out_until == 0
        state.end(request)
        assert state.out_until <= now + RULES.backoff_max_s
    assert state.in_flight == 0
    assert state.admits(now + RULES.backoff_max_s)


def test_retry_after_is_the_time_until_the_first_is_due() -> None:
    """In whole seconds, rounded up, at least one."""
    early, late = out(10.0), out(12.5)
    assert retry_after_s([late, early], 8.2) == 3
    assert retry_after_s([late], 12.6) == 1
    assert retry_after_s([early, late], 50.0) == 1


# Active checks


def test_down_by_checks_is_not_admitted() -> None:
    """Until they say otherwise, or nothing any more; news is only that it is down, or is not any more."""
    state = UpstreamState()
    said = [None, True, False, False, True, False, None]
    assert [(state.checked(is_up), state.admits(0.0)) for is_up in said] == [
        (False, True),
        (False, True),
        (True, False),
        (False, False),
        (True, True),
        (True, False),
        (True, True),
    ]


def test_a_check_that_passes_ends_no_backoff() -> None:
    """Nor does the end of a back-off overrule a check that fails."""
    state = out(10.0)
    state.checked(True)
    assert not state.admits(10.9)
    assert state.admits(11.0)
    state.checked(False)
    assert not state.admits(11.0)
    trial = object()
    begin(state, trial)
    assert state.succeeded(trial)
    assert not state.admits(11.0)
    state.checked(True)
    assert state.admits(11.0)


@given(st.lists(st.sampled_from(["fail", "succeed", "recover", None, True, False]), max_size=40))
def test_doubt_is_either_of_the_two(events: list[str | bool | None]) -> None:
    """Whoever is beyond doubt is admitted, so that one look is enough."""
    state, now = UpstreamState(), 1.0
    for event in events:
        now += 0.7
        if event == "fail":
            fail(state, now)
        elif event == "succeed":
            request = object()
            begin(state, request)
            state.succeeded(request)
            state.end(request)
        elif event == "recover":
            state.recover()
        else:
            state.checked(event)  # type: ignore[arg-type]
        assert state.is_doubtful == (state.is_checked_up is False or state.out_until != 0)
        assert state.is_doubtful or state.admits(now)


def test_retry_after_of_one_that_is_down_by_checks() -> None:
    """When the next check may have passed, unless another is due before; a longer back-off holds as well."""
    down, late = UpstreamState(), out(12.5)
    down.checked(False)
    assert retry_after_s([down], 8.2) == 10
    assert retry_after_s([down, late], 8.2) == 6
    late.checked(False)
    assert retry_after_s([late], 0.0) == 14
