"""The tunnel behind a 101: two connections whose bytes go to each other as they come.

Laws of this module:
- Nothing is parsed, buffered or made up: not a byte that one peer did not send, pings are theirs. A peer that reads
  slowly pauses the other; each transport is the other's producer, so that costs no code in between.
- An end in order is passed on when all that came before it is written, as the end of a half (close_notify under TLS);
  what the other peer still sends is dropped for at most CLOSE_S. A connection that breaks off breaks the other off.
- A close without close_notify counts as in order here: many servers end a WebSocket so, and whether a message is
  missing the peers know from their frames (RFC 6455 section 7.1.5); a reset could overtake the close frame.
- The connections never serve another request. Their deadlines are the tunnel's.
"""

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from proxyworker.errors import Phase, UpstreamError
from proxyworker.net.deadlines import NEVER
from proxyworker.net.interfaces import Transport
from proxyworker.net.route import HostRoute, Target
from proxyworker.net.telemetry import Record, Telemetry
from proxyworker.net.tls import SessionTruncated

# How long a peer may take to close its half. Closing at once over what it still sends would reset the connection, and
# with it the last bytes on their way: the close frame.
CLOSE_S = 5.0


class Tunnel:
    """One tunnel, from the 101 on. Ends when both connections are gone.

    It takes its exchange's place among what `target` has in flight, and gives it up when nothing passes any more.
    """

    __slots__ = (
        "_active_at",
        "_client",
        "_ends_at",
        "_is_over",
        "_open",
        "_pool",
        "_request",
        "_request_id",
        "_sweep",
        "_target",
        "_telemetry",
        "_upstream",
        "bytes_to_client",
        "bytes_to_upstream",
        "deadline",
        "route",
    )

    def __init__(
        self,
        client: Transport,
        upstream: Transport,
        *,
        route: HostRoute,
        target: Target,
        request_id: bytes,
        telemetry: Telemetry,
        request: Record | None,
    ) -> None:
        self.route = route
        self.bytes_to_client = 0
        self.bytes_to_upstream = 0
        self._client = client
        self._upstream = upstream
        self._open = [client, upstream]
        self._is_over = False
        self._target = target
        self._request = request
        self._request_id = request_id
        self._telemetry = telemetry
        self._pool = target.pool
        self._sweep = target.pool.sweep
        lifetime_s = target.pool.key.deadlines.tunnel_lifetime_s
        self._active_at = self._sweep.now
        self._ends_at = self._sweep.now + lifetime_s if lifetime_s else NEVER
        self.deadline = NEVER

    def start(self, *, ends_at: float) -> None:
        """Joins the connections. `ends_at`: the client's side is draining; NEVER: it is not."""
        self._client.registerProducer(self._upstream, True)
        self._upstream.registerProducer(self._client, True)
        self._pool.tunnels.add(self)
        self._sweep.add(self)
        self._telemetry.tunnel_opened(self)
        self.deadline = self._active_at + self._pool.key.deadlines.tunnel_idle_s
        self.end_by(min(ends_at, self._pool.tunnels_end_at, self._ends_at))

    def record(self, ended_s: float) -> Record | None:
        """What the access log keeps of it: its request, with all bytes that it carried. None: nothing is kept."""
        request = self._request
        if request is None:
            return None
        _, started_s, bytes_received, bytes_sent, *_ = request
        bytes_received += self.bytes_to_upstream
        bytes_sent += self.bytes_to_client
        return (ended_s, started_s, bytes_received, bytes_sent, *request[4:])

    # From the connections

    def from_client(self, data: bytes) -> None:
        """Bytes for the upstream."""
        if not self._is_over:
            self.bytes_to_upstream += len(data)
            self._active_at = self._sweep.now
            self._upstream.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Bytes for the client."""
        if not self._is_over:
            self.bytes_to_client += len(data)
            self._active_at = self._sweep.now
            self._client.write(data)

    def client_lost(self, reason: Failure) -> None:
        """The client's connection is gone, in order or not."""
        self._lost(self._client, is_clean=_is_in_order(reason))

    def upstream_lost(self, reason: Failure) -> None:
        """The upstream's connection is gone, in order or not."""
        is_clean = _is_in_order(reason)
        if not is_clean and not self._is_over:
            reset = UpstreamError(phase=Phase.TUNNEL, code="connection_reset", reason="connection reset by peer")
            self._telemetry.upstream_failed(self.route, self._target, reset, self._request_id)
        self._lost(self._upstream, is_clean=is_clean)

    # Ending

    def end_by(self, at: float) -> None:
        """The tunnel may go on until `at` on the sweep's clock, but no longer."""
        if not self._is_over:
            self._ends_at = min(self._ends_at, at)
            self.deadline = min(self.deadline, at)

    def deadline_passed(self) -> None:
        """Idle or old enough to end; or a peer does not close its half."""
        if self._is_over:
            for transport in self._open:
                transport.abortConnection()
            return
        # Bytes only note when they came; the deadline they put off is set here.
        due_at = min(self._active_at + self._pool.key.deadlines.tunnel_idle_s, self._ends_at)
        if due_at > self._sweep.now:
            self.deadline = due_at
        else:
            self._finish(is_clean=True)

    def _lost(self, transport: Transport, *, is_clean: bool) -> None:
        self._open.remove(transport)
        if not self._is_over:
            self._finish(is_clean=is_clean)
        if not self._open:
            self._sweep.discard(self)

    def _finish(self, *, is_clean: bool) -> None:
        """Ends what is still open; from here on nothing passes."""
        self._is_over = True
        self._pool.tunnels.discard(self)
        self._target.state.end(self)
        self._telemetry.tunnel_closed(self)
        self.deadline = self._sweep.now + CLOSE_S
        for transport in self._open:
            transport.unregisterProducer()
            if is_clean:
                transport.resumeProducing()
                transport.loseWriteConnection()
            else:
                transport.abortConnection()


def _is_in_order(reason: Failure) -> bool:
    return reason.check(ConnectionDone, SessionTruncated) is not None
