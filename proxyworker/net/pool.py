"""Pools: the connections to one upstream under one identity.

Laws of this module:
- A pool belongs to one address and one identity (or to none, for http). A connection never leaves its pool, so nothing
  that was sent under one identity travels on a session of another.
- When no host needs a pool any more it retires: nothing of it outlives what is under way, tunnels have a deadline.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxyworker.net.deadlines import NEVER, Sweep
from proxyworker.net.upstream import UpstreamConnection
from proxyworker.snapshot import Deadlines
from upstream_tls.tls.context import ClientContext

if TYPE_CHECKING:
    from proxyworker.net.exchange import Exchange
    from proxyworker.net.tunnel import Tunnel

# As many as may answer within one turn of the loop: fewer would close connections under load only to open them again.
MAX_IDLE_PER_POOL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolKey:
    """What makes two pools different. `identity` is the digest of a ClientContext, empty for http."""

    address: str
    port: int
    identity: str
    deadlines: Deadlines


class UpstreamPool:
    """Idle connections to one upstream under one identity, the last used first, and the tunnels to it.

    `tunnels_end_at`: no tunnel goes on for longer, on the clock of the sweep. `open_count`: of all its connections, the
    idle ones and those of tunnels too.
    """

    __slots__ = ("_idle", "_is_retired", "context", "key", "loop", "open_count", "sweep", "tunnels", "tunnels_end_at")

    def __init__(
        self, key: PoolKey, context: ClientContext | None, *, loop: asyncio.AbstractEventLoop, sweep: Sweep
    ) -> None:
        self.key = key
        self.context = context
        self.loop = loop
        self.sweep = sweep
        self.tunnels: set[Tunnel] = set()
        self.tunnels_end_at = NEVER
        self.open_count = 0
        self._idle: list[UpstreamConnection] = []
        self._is_retired = False

    @property
    def idle_count(self) -> int:
        """How many connections wait for work."""
        return len(self._idle)

    def acquire(self, exchange: "Exchange", *, fresh: bool) -> UpstreamConnection | None:
        """Calls `exchange.upstream_ready`, at once with an idle connection, or later that or `upstream_failed`.

        `fresh`: open a new connection, because a pooled one turned out to be dead. Returns the connection that is
        being opened, so that an exchange which loses interest can cancel it.
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if not connection.transport.disconnecting:
                exchange.upstream_ready(connection)
                return None
        opening = UpstreamConnection(self)
        opening.open(exchange)
        return opening

    def release(self, connection: UpstreamConnection) -> None:
        """Takes back a connection that is fit for another exchange."""
        if self._is_retired or len(self._idle) >= MAX_IDLE_PER_POOL:
            connection.close()
            return
        connection.deadline = self.sweep.now + self.key.deadlines.idle_s
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def retire(self) -> None:
        """Closes what is idle; what is busy closes when its exchange ends, tunnels within their time to drain."""
        self._is_retired = True
        self.tunnels_end_at = self.sweep.now + self.key.deadlines.tunnel_drain_s
        for tunnel in self.tunnels:
            tunnel.end_by(self.tunnels_end_at)
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
