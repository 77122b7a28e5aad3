"""Which upstream a request tries, and which one next when that fails.

Laws of this module:
- Pure: time is an argument, randomness is injected. A balancer changes nothing but its own turn; what upstreams carry
  and whether they are up is in their UpstreamState.
- `choose` never returns what the request has tried, nor what does not admit it; None: nothing is left.
- The first choice of round robin among equals, which is what most hosts use, is an index and a test.
- Not thread-safe: a balancer lives on the reactor thread.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log
from typing import Generic, Protocol, TypeVar

from proxyworker.policy.health import UpstreamState
from proxyworker.snapshot import LoadBalancing


class Candidate(Protocol):
    """An upstream, as far as balancing looks at it."""

    @property
    def upstream_id(self) -> str:
        """Stays when its address changes: clients that IP hash sent here stay with it."""

    @property
    def weight(self) -> int:
        """Its share among the others, at least 1."""

    @property
    def backup(self) -> bool:
        """Only used while no other is up."""

    @property
    def drain(self) -> bool:
        """Gets no new requests."""

    @property
    def state(self) -> UpstreamState:
        """Whether it is up, and what it carries."""


C = TypeVar("C", bound=Candidate)


def balancer_for(algorithm: LoadBalancing, candidates: Sequence[C], random: Callable[[], float]) -> "Balancer[C]":
    """The balancer over all `candidates` that take new requests. `random` yields from 0 up to 1, without 1."""
    primaries = [candidate for candidate in candidates if not candidate.drain and not candidate.backup]
    backups = [candidate for candidate in candidates if not candidate.drain and candidate.backup]
    if primaries and backups:
        return WithBackups(_group(algorithm, primaries, random), _group(algorithm, backups, random))
    return _group(algorithm, primaries or backups, random)


def _group(algorithm: LoadBalancing, candidates: Sequence[C], random: Callable[[], float]) -> "Balancer[C]":
    if len(candidates) < 2:
        return Single(candidates[0] if candidates else None)
    if algorithm == "least_connections":
        return LeastConnections(candidates)
    if algorithm == "ip_hash":
        return IPHash(candidates)
    if algorithm == "random_two_choices":
        return RandomTwoChoices(candidates, random)
    if len({candidate.weight for candidate in candidates}) == 1:
        return RoundRobin(candidates)
    return WeightedRoundRobin(candidates)


class Balancer(ABC, Generic[C]):
    """Chooses among the upstreams of a host."""

    __slots__ = ()

    @abstractmethod
    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        """For a request of `client_address` that has `tried` some already."""


class Single(Balancer[C]):
    """One upstream or none. Nobody counts its failures unless there is a backup for it; active checks hold for it."""

    __slots__ = ("_candidate",)

    def __init__(self, candidate: C | None) -> None:
        self._candidate = candidate

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        candidate = self._candidate
        if candidate is None or candidate in tried or (candidate.state.is_doubtful and not candidate.state.admits(now)):
            return None
        return candidate


class WithBackups(Balancer[C]):
    """The backups, while no primary is up. A primary that failed this very request is not up for it."""

    __slots__ = ("_backups", "_primaries")

    def __init__(self, primaries: Balancer[C], backups: Balancer[C]) -> None:
        self._primaries = primaries
        self._backups = backups

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        primary = self._primaries.choose(client_address, now, tried)
        if primary is None:
            return self._backups.choose(client_address, now, tried)
        return primary


class RoundRobin(Balancer[C]):
    """Each in turn. The one behind an upstream that is out does not get its share as well: the turn moves on.

    A retry takes no turn: with two upstreams, one of them broken, every first attempt would go to the broken one.
    """

    __slots__ = ("_candidates", "_next")

    def __init__(self, candidates: Sequence[C]) -> None:
        self._candidates = tuple(candidates)
        self._next = 0

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        candidates = self._candidates
        index = self._next
        candidate = candidates[index]
        self._next = (index + 1) % len(candidates)
        if not tried and not candidate.state.is_doubtful:
            return candidate
        return self._search(index, now, tried)

    def _search(self, start: int, now: float, tried: tuple[C, ...]) -> C | None:
        candidates = self._candidates
        for offset in range(len(candidates)):
            index = (start + offset) % len(candidates)
            candidate = candidates[index]
            if candidate not in tried and candidate.state.admits(now):
                self._next = start if tried else (index + 1) % len(candidates)
                return candidate
        return None


class WeightedRoundRobin(Balancer[C]):
    """nginx's smooth weighted round robin: 5, 1, 1 are served as a a b a c a a, not as a a a a a b c.

    In each round everyone gains its weight; the one with the most is chosen and pays what all gained together.
    """

    __slots__ = ("_candidates", "_credits")

    def __init__(self, candidates: Sequence[C]) -> None:
        self._candidates = tuple(candidates)
        self._credits = [0] * len(self._candidates)

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        return self._turn(_open_to(self._candidates, now, tried))

    def _turn(self, indices: Sequence[int]) -> C | None:
        if not indices:
            return None
        credits = self._credits
        chosen, total = indices[0], 0
        for index in indices:
            weight = self._candidates[index].weight
            credits[index] += weight
            total += weight
            if credits[index] > credits[chosen]:
                chosen = index
        credits[chosen] -= total
        return self._candidates[chosen]


class LeastConnections(WeightedRoundRobin[C]):
    """The one that carries the least for its weight; those that are level take turns by weight."""

    __slots__ = ()

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        least: list[int] = []
        load = 0.0
        for index in _open_to(self._candidates, now, tried):
            candidate = self._candidates[index]
            its_load = candidate.state.in_flight / candidate.weight
            if not least or its_load < load:
                least, load = [index], its_load
            elif its_load == load:
                least.append(index)
        return self._turn(least)


class IPHash(Balancer[C]):
    """The same upstream for the same client: weighted rendezvous hashing.

    Every pair of client and upstream has a score of its own and the highest wins, so that an upstream that goes moves
    no clients but its own, each to the next in the client's own order, and back when it returns. All workers agree:
    the scores depend on nothing but the address of the client and the id of the upstream.
    """

    __slots__ = ("_candidates",)

    def __init__(self, candidates: Sequence[C]) -> None:
        self._candidates = tuple((_hash_of(candidate.upstream_id), candidate) for candidate in candidates)

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        client = _hash_of(client_address)
        chosen, highest = None, 0.0
        for seed, candidate in self._candidates:
            if candidate not in tried and candidate.state.admits(now):
                # -w / ln(u) with u between 0 and 1 (Schindelhauer and Schomaker) makes the shares those of the weights.
                score = -candidate.weight / log(_fraction(client ^ seed))
                if score > highest:
                    chosen, highest = candidate, score
        return chosen


class RandomTwoChoices(Balancer[C]):
    """Two by weighted chance, and of those the one that carries less for its weight: no herd runs to the idlest."""

    __slots__ = ("_bounds", "_candidates", "_random")

    def __init__(self, candidates: Sequence[C], random: Callable[[], float]) -> None:
        self._candidates = tuple(candidates)
        self._bounds = _bounds(self._candidates)
        self._random = random

    def choose(self, client_address: str, now: float, tried: tuple[C, ...]) -> C | None:
        one, other = self._two(self._candidates, self._bounds)
        if tried or one.state.is_doubtful or other.state.is_doubtful:
            candidates = self._candidates
            left = [candidates[index] for index in _open_to(candidates, now, tried)]
            if len(left) < 2:
                return left[0] if left else None
            one, other = self._two(left, _bounds(left))
        return one if one.state.in_flight * other.weight <= other.state.in_flight * one.weight else other

    def _two(self, candidates: Sequence[C], bounds: Sequence[int]) -> tuple[C, C]:
        """Two different ones: the second is drawn from what the first leaves of the whole."""
        first = bisect_right(bounds, int(self._random() * bounds[-1]))
        start, weight = bounds[first] - candidates[first].weight, candidates[first].weight
        point = int(self._random() * (bounds[-1] - weight))
        second = bisect_right(bounds, point if point < start else point + weight)
        return candidates[first], candidates[second]


def _open_to(candidates: Sequence[Candidate], now: float, tried: Sequence[Candidate]) -> list[int]:
    """The indices of those that a request may still try."""
    return [
        index
        for index, candidate in enumerate(candidates)
        if candidate not in tried and (not candidate.state.is_doubtful or candidate.state.admits(now))
    ]


def _bounds(candidates: Sequence[Candidate]) -> list[int]:
    return list(accumulate(candidate.weight for candidate in candidates))


def _hash_of(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _fraction(value: int) -> float:
    """A number between 0 and 1, never either, each bit of which depends on all of `value`: SplitMix64's finaliser."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return ((value >> 12) + 0.5) / (1 << 52)
