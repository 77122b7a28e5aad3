"""One request and its response, from the routed head to the last byte of the answer.

Laws of this module:
- An exchange sits between one DownstreamConnection and at most one UpstreamConnection at a time; it holds no whole
  body. What cannot be sent yet is at most one read of the client's, and the client is paused meanwhile.
- The client learns a status and a request id. What went wrong is told to `telemetry`.
- A response that breaks off is cut off for the client too, never ended cleanly.
"""

from typing import TYPE_CHECKING

from proxyworker.errors import UpstreamError
from proxyworker.net.route import HostRoute
from proxyworker.net.tunnel import Tunnel
from proxyworker.net.upstream import UpstreamConnection
from proxyworker.policy.forwarding import upstream_head
from proxyworker.policy.https import HSTS_FIELD
from proxyworker.policy.outcome import NO_UPSTREAM, status_for
from proxyworker.policy.retry import may_retry
from proxyworker.protocol.body import LAST_CHUNK, chunk
from proxyworker.protocol.fields import without
from proxyworker.protocol.request import RequestHead
from proxyworker.protocol.response import ResponseHead, own_response, response_head, switching_head

if TYPE_CHECKING:
    from proxyworker.net.downstream import DownstreamConnection


class Exchange:
    """See the module. The downstream connection calls the first half of it, the upstream connection the second."""

    __slots__ = (
        "_attempts",
        "_body_was_sent",
        "_downstream",
        "_is_chunked",
        "_opening",
        "_pending",
        "_request",
        "_response_started",
        "_target",
        "_targets",
        "_upstream",
        "request_id",
        "request_is_complete",
        "route",
        "started_s",
        "status",
    )

    def __init__(
        self,
        downstream: "DownstreamConnection",
        route: HostRoute,
        request: RequestHead,
        *,
        request_id: bytes,
        started_s: float,
    ) -> None:
        self._downstream = downstream
        self.route = route
        self._request = request
        self.request_id = request_id
        self.started_s = started_s
        self.status = 0
        self.request_is_complete = not request.has_body
        self._targets = route.balancer.order()
        self._attempts = 0
        self._opening: UpstreamConnection | None = None
        self._upstream: UpstreamConnection | None = None
        self._pending: list[bytes] = []
        self._body_was_sent = False
        self._response_started = False
        self._is_chunked = False

    # From the downstream connection

    def start(self) -> None:
        """Looks for an upstream. Must be called once; may answer before it returns."""
        if not self._targets:
            self._answer(NO_UPSTREAM)
            return
        self._try(fresh=False)

    def request_body(self, data: bytes) -> None:
        """A piece of the request body."""
        if self._request.is_chunked:
            data = chunk(data)
        if self._upstream is None:
            self._pending.append(data)
            self._downstream.pause_reading()
        else:
            self._body_was_sent = True
            self._upstream.send_body(data, is_complete=False)

    def request_end(self) -> None:
        """The request body is complete."""
        self.request_is_complete = True
        last = LAST_CHUNK if self._request.is_chunked else b""
        if self._upstream is None:
            self._pending.append(last)
        else:
            self._upstream.send_body(last, is_complete=True)

    def cancel(self) -> None:
        """The client is gone."""
        upstream = self._upstream or self._opening
        self._upstream = self._opening = None
        if upstream is not None:
            upstream.cancel()

    def pause_response(self) -> None:
        """The client does not take what was written."""
        if self._upstream is not None:
            self._upstream.pause_response()

    def resume_response(self) -> None:
        """The client takes more."""
        if self._upstream is not None:
            self._upstream.resume_response()

    @property
    def response_started(self) -> bool:
        """Whether the client has bytes of the final response."""
        return self._response_started

    # From the upstream connection and its pool

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """A connection is there: the request goes out."""
        self._opening = None
        self._upstream = connection
        request = self._request
        downstream = self._downstream
        authority = request.host if self.route.preserve_host and request.host else self._target.authority
        data = upstream_head(
            request,
            authority=authority,
            forwarding=downstream.forwarding.lines(request, self.request_id),
            upgrade=request.wants_websocket and self.route.websockets,
        )
        if self._pending:
            data += b"".join(self._pending)
            self._pending.clear()
            self._body_was_sent = True
        connection.send(self, data, method=request.method, is_complete=self.request_is_complete)
        if not self.request_is_complete:
            downstream.resume_reading()

    def upstream_failed(self, error: UpstreamError) -> None:
        """No connection, or the exchange on it broke off."""
        self._upstream = self._opening = None
        self._downstream.telemetry.upstream_failed(self.route, self._target, error, self.request_id)
        if self._response_started:
            self._downstream.abort_exchange()
        elif may_retry(
            self._request,
            safety=error.retry_safety,
            attempts=self._attempts,
            upstreams=len(self._targets),
            body_was_sent=self._body_was_sent,
        ):
            self._try(fresh=True)
        else:
            self._answer(status_for(error))

    def interim_response(self, response: ResponseHead) -> None:
        """A 1xx response; RFC 9110 section 15.2: not for HTTP/1.0 clients."""
        if not self._request.is_http_10:
            self._downstream.write(response_head(response, to_http_10=False, is_chunked=False, keep_alive=True))

    @property
    def wants_websocket(self) -> bool:
        """Whether the upstream was asked for an upgrade: the client wants it and the host permits it."""
        return self._request.wants_websocket and self.route.websockets

    def switch_protocols(self, head: ResponseHead) -> Tunnel:
        """The upstream agreed: its connection and the client's are a tunnel from here on."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None  # noqa: S101 (a 101 comes from the connection in use)
        self.status = head.status
        downstream = self._downstream
        tunnel = Tunnel(
            downstream.transport,
            upstream.transport,
            route=self.route,
            target=self._target,
            request_id=self.request_id,
            telemetry=downstream.telemetry,
        )
        downstream.begin_tunnel(self, tunnel, switching_head(head))
        return tunnel

    def response_received(self, head: ResponseHead | None, body: bytes, *, is_complete: bool) -> None:
        """The final response's head, or a part of its body, or both; `is_complete` with its last byte."""
        data = body
        if head is not None:
            data = self._begin_response(head)
            if body:
                data += chunk(body) if self._is_chunked else body
        elif body and self._is_chunked:
            data = chunk(body)
        if is_complete and self._is_chunked:
            data += LAST_CHUNK
        if is_complete:
            self._upstream = None
        if data:
            self._downstream.write(data)
        if is_complete:
            self._downstream.exchange_done(self)

    def pause_request(self) -> None:
        """The upstream does not take the request as fast as the client sends it."""
        self._downstream.pause_reading()

    def resume_request(self) -> None:
        """The upstream takes more."""
        self._downstream.resume_reading()

    # Inside

    def _try(self, *, fresh: bool) -> None:
        self._target = self._targets[self._attempts % len(self._targets)]
        self._attempts += 1
        self._opening = self._target.pool.acquire(self, fresh=fresh)

    def _begin_response(self, head: ResponseHead) -> bytes:
        request = self._request
        self._is_chunked = head.is_open_ended and not request.is_http_10
        if head.is_open_ended and request.is_http_10:
            request.keep_alive = False  # the end of the connection is the end of the body
        if self.route.hsts and self._downstream.is_https:
            head.lines = [*without(head.lines, HSTS_FIELD), self.route.hsts]
        self._response_started = True
        self.status = head.status
        return response_head(
            head,
            to_http_10=request.is_http_10,
            is_chunked=self._is_chunked,
            keep_alive=self._downstream.may_keep_alive(request),
        )

    def _answer(self, status: int) -> None:
        self._response_started = True
        self.status = status
        self._downstream.write(
            own_response(
                status,
                request_id=self.request_id,
                keep_alive=self._downstream.may_keep_alive(self._request),
                without_body=self._request.method == b"HEAD",
                lines=(self.route.hsts,) if self.route.hsts and self._downstream.is_https else (),
            )
        )
        self._downstream.exchange_done(self)
