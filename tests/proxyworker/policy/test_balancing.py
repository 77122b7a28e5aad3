"""Which upstream a request tries, and which one next."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyworker.policy.balancing import (
    Balancer,
    IPHash,
    LeastConnections,
    RandomTwoChoices,
    RoundRobin,
    Single,
    WeightedRoundRobin,
    balancer_for,
)
from proxyworker.policy.health import UpstreamState
from proxyworker.snapshot import LoadBalancing, PassiveHealth

ALGORITHMS = get_args(LoadBalancing)
CLIENTS = [f"198.51.100.{number}" for number in range(200)] + [f"2001:db8::{number:x}" for number in range(200)]
NOW = 100.0


@dataclass(frozen=True, eq=False)
class Backend:
    """An upstream as a balancer sees it."""

    upstream_id: str
    weight: int = 1
    backup: bool = False
    drain: bool = False
    state: UpstreamState = field(default_factory=UpstreamState)


def backends(*weights: int) -> list[Backend]:
    """Named a, b, c and so on."""
    return [Backend(chr(ord("a") + number), weight) for number, weight in enumerate(weights)]


def take_out(backend: Backend, until: float = NOW + 1) -> None:
    backend.state.failed(object(), PassiveHealth(max_failures=1, backoff_s=until - NOW), NOW)


def choose(balancer: Balancer[Backend], client: str = "x", tried: Iterable[Backend] = ()) -> str:
    """Whom it chooses, by name; empty: nobody."""
    chosen = balancer.choose(client, NOW, tuple(tried))
    return chosen.upstream_id if chosen is not None else ""


def run(balancer: Balancer[Backend], number: int) -> str:
    """The choices of so many requests that nothing distinguishes."""
    return "".join(choose(balancer) for _ in range(number))


@pytest.fixture
def chance() -> Callable[[], float]:
    """The same in every run."""
    return random.Random(7).random


weights_of_a_host = st.lists(st.integers(1, 30), min_size=2, max_size=6)


# All algorithms


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_none_and_one(algorithm: LoadBalancing, chance: Callable[[], float]) -> None:
    """Nothing to choose from."""
    one = Backend("a")
    assert choose(balancer_for(algorithm, [], chance)) == ""
    assert choose(balancer_for(algorithm, [one], chance)) == "a"
    assert choose(balancer_for(algorithm, [one], chance), tried=[one]) == ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(deadline=None, max_examples=40)
@given(weights=weights_of_a_host, seed=st.integers(0, 99))
def test_a_request_that_fails_everywhere_tries_each_that_is_up_once(
    algorithm: LoadBalancing, weights: list[int], seed: int
) -> None:
    """Whatever the algorithm; those that are out are left alone, and so are those in drain."""
    chance = random.Random(seed)
    candidates = backends(*weights)
    take_out(candidates[seed % len(candidates)])
    drained = Backend("z", drain=True)
    balancer = balancer_for(algorithm, [*candidates, drained], chance.random)
    tried: tuple[Backend, ...] = ()
    while (chosen := balancer.choose("198.51.100.7", NOW, tried)) is not None:
        tried += (chosen,)
    assert len(set(tried)) == len(tried)
    assert {backend.upstream_id for backend in tried} == {
        backend.upstream_id for backend in candidates if not backend.state.out_until
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_backups_wait_until_no_other_is_up(algorithm: LoadBalancing, chance: Callable[[], float]) -> None:
    """They serve while the primaries are out, and the request that has tried all of those."""
    primaries = backends(1, 1)
    backups = [Backend("x", backup=True), Backend("y", backup=True)]
    balancer = balancer_for(algorithm, [*backups, *primaries], chance)
    assert set(run(balancer, 50)) <= {"a", "b"}
    assert choose(balancer, tried=primaries) in {"x", "y"}
    take_out(primaries[0])
    assert set(run(balancer, 20)) == {"b"}
    take_out(primaries[1])
    assert set(run(balancer, 20)) <= {"x", "y"}
    primaries[1].state.recover()
    assert set(run(balancer, 20)) == {"b"}


def test_backups_alone_are_as_good_as_others(chance: Callable[[], float]) -> None:
    """A host that has nothing else; in drain they get nothing either."""
    assert run(balancer_for("round_robin", [Backend("x", backup=True), Backend("y", backup=True)], chance), 4) == "xyxy"
    assert choose(balancer_for("round_robin", [Backend("x", backup=True, drain=True)], chance)) == ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_that_is_due_gets_one_request(algorithm: LoadBalancing, chance: Callable[[], float]) -> None:
    """Its trial; the others go elsewhere until that one has an outcome."""
    one, other = candidates = backends(1, 1)
    take_out(one, until=NOW + 1)
    balancer = balancer_for(algorithm, candidates, chance)
    due = NOW + 1
    choices = []
    for number in range(50):
        chosen = balancer.choose(f"198.51.100.{number}", due, ())
        assert chosen is not None
        if chosen.state.out_until:
            chosen.state.begin_trial(number)
        choices.append(chosen)
    assert choices.count(one) == 1
    assert choices.count(other) == 49


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_that_is_down_by_checks_gets_nothing(algorithm: LoadBalancing, chance: Callable[[], float]) -> None:
    """Neither first attempts nor retries, also where it is the only one; the end of a back-off changes nothing."""
    for weights in ((1,), (1, 1), (1, 3), (2, 1, 1)):
        candidates = backends(*weights)
        balancer = balancer_for(algorithm, candidates, chance)
        candidates[0].state.checked(False)
        take_out(candidates[0], until=NOW)
        chosen = [balancer.choose(client, NOW, ()) for client in CLIENTS]
        assert set(chosen) == (set(candidates[1:]) or {None})
        assert balancer.choose("x", NOW, tuple(candidates[1:])) is None
        candidates[0].state.recover()
        candidates[0].state.checked(True)
        assert candidates[0] in [balancer.choose(client, NOW, ()) for client in CLIENTS]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_backups_serve_while_all_others_are_down_by_checks(
    algorithm: LoadBalancing, chance: Callable[[], float]
) -> None:
    """And nobody does when the checks say that of the backups too."""
    primaries, backup = backends(1, 1), Backend("x", backup=True)
    balancer = balancer_for(algorithm, [*primaries, backup], chance)
    for backend, left in ((primaries[0], {"b"}), (primaries[1], {"x"}), (backup, set())):
        backend.state.checked(False)
        assert set(run(balancer, 20)) == left


# Each algorithm


def test_round_robin_takes_turns() -> None:
    """Every one is chosen once in a round."""
    assert run(RoundRobin(backends(1, 1, 1)), 7) == "abcabca"


def test_round_robin_does_not_burden_the_neighbour() -> None:
    """The requests of one that is out are shared by all others."""
    candidates = backends(1, 1, 1)
    take_out(candidates[0])
    assert Counter(run(RoundRobin(candidates), 10)) == {"b": 5, "c": 5}
    assert choose(RoundRobin(candidates), tried=candidates) == ""


def test_round_robin_retries_take_no_turn() -> None:
    """Otherwise the requests that a broken one fails would all come back to it first."""
    candidates = backends(1, 1)
    balancer = RoundRobin(candidates)
    assert [choose(balancer) + choose(balancer, tried=candidates[:1]) for _ in "123"] == ["ab", "bb", "ab"]


@given(weights=weights_of_a_host, rounds=st.integers(1, 3))
def test_weighted_shares_are_exact_in_each_cycle(weights: list[int], rounds: int) -> None:
    """As many requests as the weights add up to are shared exactly by weight, however often."""
    balancer = WeightedRoundRobin(backends(*weights))
    for _ in range(rounds):
        shares = Counter(run(balancer, sum(weights)))
        assert [shares[chr(ord("a") + number)] for number in range(len(weights))] == weights


def test_weighted_turns_are_smooth() -> None:
    """nginx's own example: no burst on the heaviest."""
    assert run(WeightedRoundRobin(backends(5, 1, 1)), 7) == "aabacaa"


@given(weights=weights_of_a_host)
def test_shares_of_those_left_keep_their_proportion(weights: list[int]) -> None:
    """While one is out, and once it is back."""
    candidates = backends(*weights)
    balancer = WeightedRoundRobin(candidates)
    take_out(candidates[0])
    left = Counter(run(balancer, sum(weights[1:])))
    assert [left[backend.upstream_id] for backend in candidates] == [0, *weights[1:]]
    candidates[0].state.recover()
    both = Counter(run(balancer, sum(weights)))
    assert [both[backend.upstream_id] for backend in candidates] == weights


def test_equal_weights_are_plain_round_robin(chance: Callable[[], float]) -> None:
    """They cost no arithmetic."""
    assert isinstance(balancer_for("round_robin", backends(3, 3), chance), RoundRobin)
    assert isinstance(balancer_for("round_robin", backends(3, 2), chance), WeightedRoundRobin)
    assert isinstance(balancer_for("ip_hash", backends(3), chance), Single)


@given(
    weights=weights_of_a_host,
    loads=st.lists(st.integers(0, 50), min_size=6, max_size=6),
)
def test_least_connections_takes_the_least_loaded(weights: list[int], loads: list[int]) -> None:
    """No other carries less for its weight."""
    candidates = backends(*weights)
    for backend, load in zip(candidates, loads, strict=False):
        backend.state.in_flight = load
    chosen = LeastConnections(candidates).choose("x", NOW, ())
    assert chosen is not None
    assert chosen.state.in_flight / chosen.weight == min(each.state.in_flight / each.weight for each in candidates)


@given(weights=weights_of_a_host)
def test_least_connections_fills_by_weight(weights: list[int]) -> None:
    """Requests that stay are spread exactly by weight once there are as many as the weights add up to."""
    candidates = backends(*weights)
    balancer = LeastConnections(candidates)
    for _ in range(sum(weights)):
        chosen = balancer.choose("x", NOW, ())
        assert chosen is not None
        chosen.state.in_flight += 1
    assert [backend.state.in_flight for backend in candidates] == weights


def test_least_connections_takes_turns_when_level() -> None:
    """Requests one after the other do not all go to the first."""
    assert run(LeastConnections(backends(1, 1, 1)), 6) == "abcabc"
    assert Counter(run(LeastConnections(backends(2, 1)), 6)) == {"a": 4, "b": 2}


@pytest.mark.parametrize("index", range(4))
def test_ip_hash_moves_only_the_clients_of_one_that_goes(index: int) -> None:
    """Each client keeps its upstream; one that leaves, or is out, hands its clients to the next of each of them."""
    candidates = backends(1, 2, 3, 1)
    before = {client: choose(IPHash(candidates), client) for client in CLIENTS}
    second = {client: choose(IPHash(candidates), client, [_named(candidates, before[client])]) for client in CLIENTS}
    gone = candidates[index]
    smaller = IPHash([backend for backend in candidates if backend is not gone])
    take_out(gone)
    for client in CLIENTS:
        expected = second[client] if before[client] == gone.upstream_id else before[client]
        assert choose(smaller, client) == choose(IPHash(candidates), client) == expected
    gone.state.recover()
    assert {client: choose(IPHash(candidates), client) for client in CLIENTS} == before
    assert len(set(second.values())) == 4  # its clients are spread over all others


def _named(candidates: list[Backend], name: str) -> Backend:
    return next(backend for backend in candidates if backend.upstream_id == name)


def test_ip_hash_shares_by_weight() -> None:
    """Roughly: chance has 400 clients to work with, the same in every run."""
    shares = Counter(choose(IPHash(backends(1, 3)), client) for client in CLIENTS)
    assert 260 < shares["b"] < 340


def test_ip_hash_is_the_same_in_every_process() -> None:
    """Workers that share the port must agree, also after a restart."""
    candidates = backends(1, 1, 1)
    assert "".join(choose(IPHash(candidates), client) for client in CLIENTS[:12]) == "bbccbbbcbcac"


def test_random_takes_the_less_loaded_of_two(chance: Callable[[], float]) -> None:
    """Of two there are only those two; the busiest of several is never chosen."""
    candidates = backends(1, 1)
    candidates[0].state.in_flight = 1
    assert set(run(RandomTwoChoices(candidates, chance), 30)) == {"b"}
    candidates = backends(1, 1, 1)
    candidates[1].state.in_flight = 9
    assert set(run(RandomTwoChoices(candidates, chance), 60)) == {"a", "c"}


def test_random_weighs_load_by_weight(chance: Callable[[], float]) -> None:
    """Three in flight are less for a weight of four than one for a weight of one."""
    candidates = backends(4, 1)
    candidates[0].state.in_flight, candidates[1].state.in_flight = 3, 1
    assert set(run(RandomTwoChoices(candidates, chance), 30)) == {"a"}


@given(
    weights=weights_of_a_host, numbers=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
)
def test_random_draws_two_different_ones(weights: list[int], numbers: tuple[float, float]) -> None:
    """Whatever chance says: the less loaded of two is never the one that is busier than all others."""
    drawn = iter(numbers)
    candidates = backends(*weights)
    candidates[0].state.in_flight = 10_000
    chosen = RandomTwoChoices(candidates, lambda: next(drawn)).choose("x", NOW, ())
    assert chosen is not None
    assert chosen is not candidates[0]
