"""What connections tell of themselves, and to whom: an interface, which `proxyworker.telemetry` implements."""

from typing import TYPE_CHECKING, Literal, Protocol

from proxyworker.errors import UpstreamError
from proxyworker.net.route import HostRoute, Target
from proxyworker.policy.admission import Refusal
from proxyworker.protocol.request import RequestHead

if TYPE_CHECKING:
    from proxyworker.net.exchange import Exchange
    from proxyworker.net.tunnel import Tunnel

# "stale": the pooled connection was closed meanwhile, same upstream; "failed": the next upstream, and it costs budget.
RetryReason = Literal["stale", "failed"]
# One answered request, as the access log keeps it. A plain tuple, for one is made for nearly every request:
#  0 ended_s, 1 started_s        on the loop's clock
#  2 bytes_received              the request's head and body, without what frames the body
#  3 bytes_sent                  all of the answer
#  4 status, 5 host              host: its name, empty when none matched
#  6 client_address, 7 is_https
#  8 request_id, 9 request       request: None when it could not be read
# 10 target, 11 attempts         target: the last upstream that was tried
# 12 failure_code               of the last attempt that failed, or empty
# 13 upstream_status            0: no answer came from an upstream
# 14 opened_in_s                seconds to connect and to shake hands (None: no TLS), when a connection was opened
Record = tuple[
    float,
    float,
    int,
    int,
    int,
    str,
    str,
    bool,
    bytes,
    RequestHead | None,
    Target | None,
    int,
    str,
    int,
    tuple[float, float | None] | None,
]
# One failed attempt at an upstream, as the error log keeps it: when on the loop's clock, names of host and upstream,
# phase, code and reason of the UpstreamError, id of the request.
FailedAttempt = tuple[float, str, str, str, str, str, bytes]


class Telemetry(Protocol):
    """Who is told what happened. Called on the reactor thread; must be quick and must not raise."""

    def exchange_done(self, exchange: "Exchange", status: int, ended_s: float) -> None:
        """A request of a host was answered. With 101 a tunnel follows, which is told of by itself."""

    def own_answer(self, route: HostRoute | None, record: Record) -> None:
        """The worker answered by itself, without looking for an upstream; `route` is None when no host matched."""

    def upstream_opened(self, route: HostRoute, opened_in_s: tuple[float, float | None]) -> None:
        """A connection to an upstream was opened: in so many seconds, and its TLS handshake in so many more."""

    def upstream_failed(self, route: HostRoute, target: Target, error: UpstreamError, request_id: bytes) -> None:
        """One attempt at an upstream failed; the request may still be answered by another.

        Or the upstream's answer, which the client gets, says that it does not want us.
        """

    def retried(self, route: HostRoute, target: Target, reason: RetryReason) -> None:
        """A request goes to `target`, once more or instead of another."""

    def upstream_changed(self, route: HostRoute, target: Target, *, is_up: bool) -> None:
        """By its failures an upstream is out from now on, or by a success it is back."""

    def client_refused(self, status: int, reason: str) -> None:
        """A client broke the protocol or a limit."""

    def connection_refused(self, refusal: Refusal) -> None:
        """A client's connection was not taken."""

    def client_handshake(self, result: str) -> None:
        """A client's TLS handshake ended: `full`, `resumed` or `failed`."""

    def tunnel_opened(self, tunnel: "Tunnel") -> None:
        """A connection became a tunnel; until it closes its counts may be read at any time."""

    def tunnel_closed(self, tunnel: "Tunnel") -> None:
        """Its counts are final."""
