"""What connections tell of themselves, and to whom: an interface, which `proxyworker.telemetry` implements."""

from typing import TYPE_CHECKING, Protocol

from proxyworker.errors import UpstreamError
from proxyworker.net.route import HostRoute, Target

if TYPE_CHECKING:
    from proxyworker.net.tunnel import Tunnel


class Telemetry(Protocol):
    """Who is told what happened. Called on the reactor thread; must be quick and must not raise."""

    def exchange_done(self, route: HostRoute | None, status: int, duration_s: float) -> None:
        """A request was answered; `route` is None when no host matched it."""

    def upstream_failed(self, route: HostRoute, target: Target, error: UpstreamError, request_id: bytes) -> None:
        """One attempt at an upstream failed; the request may still be answered by another."""

    def client_refused(self, status: int, reason: str) -> None:
        """A client broke the protocol or a limit."""

    def tunnel_opened(self, tunnel: "Tunnel") -> None:
        """A connection became a tunnel; until it closes its counts may be read at any time."""

    def tunnel_closed(self, tunnel: "Tunnel") -> None:
        """Its counts are final."""
