"""One request and its response, from the routed head to the last byte of the answer.

Laws of this module:
- An exchange sits between one DownstreamConnection and at most one UpstreamConnection at a time; it holds no whole
  body. What cannot be sent yet is at most one read of the client's, and the client is paused meanwhile.
- The client learns a status and a request id. What went wrong is told to `telemetry`.
- A response that breaks off is cut off for the client too, never ended cleanly.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxyworker.errors import UpstreamError
from proxyworker.net.route import HostRoute, Target
from proxyworker.net.telemetry import Record
from proxyworker.net.tunnel import Tunnel
from proxyworker.net.upstream import UpstreamConnection
from proxyworker.policy.forwarding import upstream_head
from proxyworker.policy.health import retry_after_s
from proxyworker.policy.https import HSTS_FIELD
from proxyworker.policy.outcome import NO_UPSTREAM, status_for
from proxyworker.policy.retry import may_retry
from proxyworker.protocol.body import LAST_CHUNK, chunk
from proxyworker.protocol.fields import without
from proxyworker.protocol.request import RequestHead
from proxyworker.protocol.response import ResponseHead, own_response, response_head, switching_head
from proxyworker.protocol.trailers import accepts_trailers, last_chunk, passable, trailer_line

if TYPE_CHECKING:
    from proxyworker.net.downstream import DownstreamConnection


class Exchange:
    """See the module. The downstream connection calls the first half of it, the upstream connection the second."""

    __slots__ = (
        "_attempts",
        "_body_was_sent",
        "_downstream",
        "_failure_code",
        "_is_chunked",
        "_opened_in_s",
        "_opening",
        "_pending",
        "_request",
        "_response_started",
        "_target",
        "_trailers",
        "_tried",
        "_upstream",
        "_upstream_status",
        "bytes_from_upstream",
        "bytes_received",
        "bytes_sent",
        "bytes_to_upstream",
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
        head_bytes: int,
    ) -> None:
        self._downstream = downstream
        self.route = route
        self._request = request
        self.request_id = request_id
        self.started_s = started_s
        self.status = 0
        self.request_is_complete = not request.has_body
        self._tried: tuple[Target, ...] = ()
        self._attempts = 0
        self._opening: UpstreamConnection | None = None
        self._upstream: UpstreamConnection | None = None
        self._pending: list[bytes] = []
        self._body_was_sent = False
        self._response_started = False
        self._is_chunked = False
        self._trailers: Sequence[bytes] = ()
        self._failure_code = ""
        self._opened_in_s: tuple[float, float | None] | None = None
        self._upstream_status = 0
        self.bytes_received = head_bytes
        self.bytes_sent = self.bytes_to_upstream = self.bytes_from_upstream = 0

    # From the downstream connection

    def start(self) -> None:
        """Looks for an upstream. Must be called once; may answer before it returns."""
        route = self.route
        target = route.only_target
        if target is None or target.state.is_doubtful:
            target = self._first_target(route)
        if target is not None:
            self._try(target, fresh=False)
        else:
            self._answer(NO_UPSTREAM, self._retry_after())

    def request_body(self, data: bytes) -> None:
        """A piece of the request body."""
        self.bytes_received += len(data)
        if self._request.is_chunked:
            data = chunk(data)
        if self._upstream is None:
            self._pending.append(data)
            self._downstream.pause_reading()
        else:
            self._body_was_sent = True
            self.bytes_to_upstream += len(data)
            self._upstream.send_body(data, is_complete=False)

    def request_end(self, trailers: Sequence[bytes]) -> None:
        """The request body is complete, with these trailers behind it."""
        self.request_is_complete = True
        last = LAST_CHUNK if self._request.is_chunked else b""
        if trailers:
            rules = self.route.request_headers
            permitted = passable(trailers, self._request.judged)
            last = last_chunk(rules.spared(permitted) if rules is not None else permitted)
        if self._upstream is None:
            self._pending.append(last)
        else:
            self.bytes_to_upstream += len(last)
            self._upstream.send_body(last, is_complete=True)

    def cancel(self) -> None:
        """The client is gone."""
        upstream = self._upstream or self._opening
        self._upstream = self._opening = None
        if upstream is not None:
            self._target.state.end(self)
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

    def record(self, status: int, ended_s: float) -> Record:
        """What the access log keeps of it."""
        downstream = self._downstream
        return (
            ended_s,
            self.started_s,
            self.bytes_received,
            self.bytes_sent,
            status,
            self.route.name,
            downstream.client.address,
            downstream.client.is_https,
            self.request_id,
            self._request,
            self._target if self._attempts else None,
            self._attempts,
            self._failure_code,
            self._upstream_status,
            self._opened_in_s,
        )

    # From the upstream connection and its pool

    def upstream_opened(self, connect_s: float, tls_s: float | None) -> None:
        """The connection that follows was opened for this exchange."""
        self._opened_in_s = (connect_s, tls_s)
        self._downstream.telemetry.upstream_opened(self.route, self._opened_in_s)

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
            forwarding=downstream.client.forwarding.lines(request, self.request_id),
            upgrade=self.wants_websocket,
            rules=self.route.request_headers,
        )
        if self._pending:
            data += b"".join(self._pending)
            self._pending.clear()
            self._body_was_sent = True
        self.bytes_to_upstream += len(data)
        connection.send(self, data, method=request.method, is_complete=self.request_is_complete)
        if not self.request_is_complete:
            downstream.resume_reading()

    def upstream_failed(self, error: UpstreamError) -> None:
        """No connection, or the exchange on it broke off."""
        self._upstream = self._opening = None
        target = self._target
        now = target.pool.sweep.now
        is_repeatable = not self._response_started and may_retry(
            self._request, error.retry_safety, body_was_sent=self._body_was_sent
        )
        if error.is_stale:
            target.state.end(self)
            if is_repeatable and target.state.admits(now):
                self._downstream.telemetry.retried(self.route, target, "stale")
                self._try(target, fresh=True)
                return
        else:
            self._note_failure(target, now)
        self._failure_code = error.code
        self._downstream.telemetry.upstream_failed(self.route, target, error, self.request_id)
        if self._response_started:
            self._downstream.abort_exchange()
        elif not (is_repeatable and self._try_another(now)):
            self._answer(status_for(error))

    def upstream_refused(self, error: UpstreamError) -> None:
        """The answer, which the client gets, says that the upstream does not want us: the operator hears why."""
        self._failure_code = error.code
        self._downstream.telemetry.upstream_failed(self.route, self._target, error, self.request_id)

    def interim_response(self, response: ResponseHead) -> None:
        """A 1xx response; RFC 9110 section 15.2: not for HTTP/1.0 clients."""
        if not self._request.is_http_10:
            data = response_head(response, to_http_10=False, is_chunked=False, keep_alive=True)
            self.bytes_sent += len(data)
            self._downstream.write(data)

    @property
    def wants_websocket(self) -> bool:
        """Whether the upstream was asked for an upgrade: the client wants it and the host permits it."""
        return self._request.wants_websocket and self.route.websockets

    def switch_protocols(self, head: ResponseHead) -> Tunnel:
        """The upstream agreed: its connection and the client's are a tunnel from here on."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None  # noqa: S101 (a 101 comes from the connection in use)
        self._note_success()
        self.status = self._upstream_status = head.status
        downstream = self._downstream
        data = switching_head(head)
        self.bytes_sent += len(data)
        tunnel = Tunnel(
            downstream.transport,
            upstream.transport,
            route=self.route,
            target=self._target,
            request_id=self.request_id,
            telemetry=downstream.telemetry,
            request=self.record(head.status, self.started_s) if self.route.access_log else None,
        )
        downstream.begin_tunnel(self, tunnel, data)
        return tunnel

    def response_trailers(self, trailers: Sequence[bytes]) -> None:
        """What follows the response's body; said before the last of `response_received`."""
        rules = self.route.response_headers
        if accepts_trailers(self._request):
            self._trailers = rules.spared(trailers) if rules is not None else trailers

    def response_received(self, head: ResponseHead | None, body: bytes, *, is_complete: bool) -> None:
        """The final response's head, or a part of its body, or both; `is_complete` with its last byte."""
        data = body
        if head is not None:
            data = self._begin_response(head)
            if body:
                data += chunk(body) if self._is_chunked else body
            if not is_complete and self._target.state.out_until:
                self._note_success()  # a trial is decided by the head: the body may take hours
        elif body and self._is_chunked:
            data = chunk(body)
        if is_complete and self._is_chunked:
            data += last_chunk(self._trailers)
        if is_complete:
            self._upstream = None
            state = self._target.state
            state.in_flight -= 1
            if state.failures:
                self._note_success()
        if data:
            self.bytes_sent += len(data)
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

    def _first_target(self, route: HostRoute) -> Target | None:
        if route.budget is not None:
            route.budget.requests += 1
        return route.balancer.choose(self._downstream.client.address, self.started_s, ())

    def _try(self, target: Target, *, fresh: bool) -> None:
        self._target = target
        self._attempts += 1
        state = target.state
        state.in_flight += 1
        if state.out_until:
            state.begin_trial(self)
        self._opening = target.pool.acquire(self, fresh=fresh)

    def _try_another(self, now: float) -> bool:
        """Tries the next upstream. False: there is none left to try, or the host has no retry left."""
        route = self.route
        self._tried += (self._target,)
        if route.budget is None or len(self._tried) >= route.budget.rules.max_attempts:
            return False
        target = route.balancer.choose(self._downstream.client.address, now, self._tried)
        if target is None or not route.budget.take(now):
            return False
        self._downstream.telemetry.retried(route, target, "failed")
        self._try(target, fresh=False)
        return True

    def _note_failure(self, target: Target, now: float) -> None:
        rules = self.route.passive_health
        if rules is not None and target.state.failed(self, rules, now):
            self._downstream.telemetry.upstream_changed(self.route, target, is_up=False)
        target.state.end(self)

    def _note_success(self) -> None:
        if self._target.state.succeeded(self):
            self._downstream.telemetry.upstream_changed(self.route, self._target, is_up=True)

    def _retry_after(self) -> tuple[bytes, ...]:
        """When the first upstream may be tried. Nobody knows when an operator adds one to a host that has none."""
        states = [target.state for target in self.route.targets if not target.drain]
        return (b"Retry-After: %d" % retry_after_s(states, self.started_s),) if states else ()

    def _begin_response(self, head: ResponseHead) -> bytes:
        request = self._request
        self._is_chunked = head.is_open_ended and not request.is_http_10
        if head.is_open_ended and request.is_http_10:
            request.keep_alive = False  # the end of the connection is the end of the body
        if self.route.response_headers is not None:
            head.lines = self.route.response_headers.applied(head.lines)
        if self._is_chunked and b"trailer" in head.judged and accepts_trailers(request):
            head.lines.append(trailer_line(head.judged))
        if self.route.hsts and self._downstream.client.is_https:
            head.lines = [*without(head.lines, HSTS_FIELD), self.route.hsts]
        self._response_started = True
        self.status = self._upstream_status = head.status
        return response_head(
            head,
            to_http_10=request.is_http_10,
            is_chunked=self._is_chunked,
            keep_alive=self._downstream.may_keep_alive(request),
        )

    def _answer(self, status: int, lines: tuple[bytes, ...] = ()) -> None:
        self._response_started = True
        self.status = status
        data = own_response(
            status,
            request_id=self.request_id,
            keep_alive=self._downstream.may_keep_alive(self._request),
            without_body=self._request.method == b"HEAD",
            lines=lines + self.route.own_lines(is_https=self._downstream.client.is_https),
        )
        self.bytes_sent += len(data)
        self._downstream.write(data)
        self._downstream.exchange_done(self)
