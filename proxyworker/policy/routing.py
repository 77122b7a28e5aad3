"""Which host a request is for: exact domain first, then the closest wildcard (`*.example.com`, one label or more).

Laws of this module:
- Keys are lower-case A-labels without port and without a trailing dot, as the snapshot has them.
- A change costs what is changed, however many hosts there are (docs/adr/0017).
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
    """Hosts by domain, a domain being a name or `*.` and a name. Changed and asked on one thread, the reactor's."""

    __slots__ = ("_exact", "_wildcards")

    def __init__(self) -> None:
        self._exact: dict[str, H] = {}
        self._wildcards: dict[str, H] = {}

    def put(self, added: Mapping[str, H]) -> None:
        """From now on requests for these domains are for these hosts."""
        for domain, host in added.items():
            (self._wildcards if domain[:2] == "*." else self._exact)[domain.removeprefix("*.")] = host

    def remove(self, domains: Iterable[str]) -> None:
        """From now on there is no host for these domains; those that had none do not matter."""
        for domain in domains:
            (self._wildcards if domain[:2] == "*." else self._exact).pop(domain.removeprefix("*."), None)

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
