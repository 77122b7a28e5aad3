"""Which host a request is for: exact domain first, then the closest wildcard (`*.example.com`, one label or more).

Laws of this module: keys are lower-case A-labels without port and without a trailing dot, as the snapshot has them.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

H = TypeVar("H")


@lru_cache(maxsize=1024)
def domain_of(authority: bytes) -> str:
    """The domain or address in a Host field or `:authority`, in the form that the routing index uses.

    An IPv6 literal keeps its brackets. What is not ASCII matches nothing.
    """
    host = authority.partition(b"]")[0] + b"]" if authority[:1] == b"[" else authority.partition(b":")[0]
    return host.decode("latin-1").lower().rstrip(".")


class RoutingIndex(Generic[H]):
    """Immutable: a change makes a new index, requests under way keep the one that they captured."""

    __slots__ = ("_exact", "_wildcards")

    def __init__(self, exact: Mapping[str, H], wildcards: Mapping[str, H]) -> None:
        self._exact = exact
        self._wildcards = wildcards

    def replacing(self, removed: Iterable[str], added: Mapping[str, H]) -> "RoutingIndex[H]":
        """The index without the domains `removed` and with `added`, a domain being a name or `*.` and a name."""
        exact, wildcards = dict(self._exact), dict(self._wildcards)
        for domain in removed:
            (wildcards if domain[:2] == "*." else exact).pop(domain.removeprefix("*."), None)
        for domain, host in added.items():
            (wildcards if domain[:2] == "*." else exact)[domain.removeprefix("*.")] = host
        return RoutingIndex(exact, wildcards)

    def find(self, authority: bytes) -> H | None:
        """The host for the authority of a request. One dict look-up for an exact match."""
        domain = domain_of(authority)
        host = self._exact.get(domain)
        if host is not None or not self._wildcards:
            return host
        while domain:
            domain = domain.partition(".")[2]
            host = self._wildcards.get(domain)
            if host is not None:
                return host
        return None
