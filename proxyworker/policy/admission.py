"""How many connections clients may have.

Laws of this module: whoever is let in is let out exactly once; a limit of 0 does not exist; trusted proxies carry many
clients each and are counted in the total only. Nothing is kept of a client without connections.
"""

from enum import StrEnum

from proxyworker.policy.trusted_proxies import TrustedProxies, client_key


class Refusal(StrEnum):
    """Why a connection was not taken, as the metric names it."""

    TOTAL = "total"
    CLIENT = "client"
    PROXY_PROTOCOL = "proxy_protocol"  # malformed, or not there in time
    UNTRUSTED = "untrusted"  # the PROXY protocol's word from somebody who is not believed


# What a client of plain HTTP is told (RFC 9110 section 15.6.4, RFC 6585 section 4).
STATUS = {Refusal.TOTAL: 503, Refusal.CLIENT: 429}


class Admission:
    """Counts the connections of one process."""

    def __init__(self, *, max_connections: int, max_per_client: int, trusted: TrustedProxies) -> None:
        self._max_connections = max_connections
        self._max_per_client = max_per_client
        self._trusted = trusted
        self._by_client: dict[str, int] = {}
        self.total = 0

    def enter(self) -> Refusal | None:
        """A connection is there; None: it may stay, and `leave` is due when it is gone."""
        if self._max_connections and self.total >= self._max_connections:
            return Refusal.TOTAL
        self.total += 1
        return None

    def leave(self) -> None:
        """A connection that was let in is gone."""
        self.total -= 1

    def enter_client(self, address: str) -> Refusal | None:
        """Who the client of a connection is; None: it may stay, and `leave_client` is due when it is gone."""
        if not self._max_per_client or address in self._trusted:
            return None
        key = client_key(address)
        number = self._by_client.get(key, 0)
        if number >= self._max_per_client:
            return Refusal.CLIENT
        self._by_client[key] = number + 1
        return None

    def leave_client(self, address: str) -> None:
        """A connection of this client, which was let in, is gone."""
        if not self._max_per_client or address in self._trusted:
            return
        key = client_key(address)
        number = self._by_client[key] - 1
        if number:
            self._by_client[key] = number
        else:
            del self._by_client[key]
