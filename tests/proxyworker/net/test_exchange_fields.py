"""Exchanges: trailers both ways, and a host's rules for header fields."""

import errno

import pytest

from proxyworker.snapshot import DownstreamTLS, HeaderRule, HostEntry, HostLimits
from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream

POST_CHUNKED = b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET_TE = GET.replace(b"\r\n\r\n", b"\r\nConnection: TE\r\nTE: trailers\r\n\r\n")


def rule(action: str, name: str, value: str = "") -> HeaderRule:
    return HeaderRule(action=action, name=name, value=value)  # type: ignore[arg-type]


def ruled(**changes: object) -> HostEntry:
    """A host that says who the user is and hides what its upstream runs on."""
    rules = {
        "request_headers": (rule("set", "X-Remote-User", "proxy"), rule("remove", "X-Real-IP")),
        "response_headers": (rule("remove", "Server"), rule("set", "X-Frame-Options", "DENY")),
    }
    return entry(**{**rules, **changes})


# Trailers


def test_request_trailers_reach_the_upstream(proxy: MemoryProxy) -> None:
    """As trailers, with the field that announces them; in whatever pieces they come."""
    announced = POST_CHUNKED[:-2] + b"Trailer: X-Sum\r\n\r\n"
    body = b"2\r\nhe\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n"
    for split in range(1, len(body)):
        client = proxy.client(announced + body[:split])
        if split == 1:
            backend = proxy.accept()
        client.deliver(body[split:])
        proxy.settle()
        request = backend.received.rpartition(b"POST / ")[2]
        assert b"\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n" in request
        assert request.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n")
        backend.deliver(OK)
        assert client.received == OK
    assert len(proxy.dialler.attempts) == 1


def test_response_trailers_reach_a_client_that_takes_them(proxy: MemoryProxy) -> None:
    """As trailers, with the field that announces them; in whatever pieces they come, on connections that live on."""
    client = proxy.client()
    answer = CHUNKED[:-2] + b"Trailer: grpc-status, Set-Cookie\r\n\r\n"
    body = b"2\r\nab\r\n0\r\ngrpc-status: 0\r\nSet-Cookie: a=b\r\n\r\n"
    for split in range(len(answer), len(answer + body)):
        before = len(client.received)
        client.deliver(GET_TE)
        if split == len(answer):
            backend = proxy.accept()
        assert b"\r\nConnection: TE\r\nTE: trailers\r\n\r\n" in backend.received
        backend.deliver((answer + body)[:split])
        backend.deliver((answer + body)[split:])
        received = client.received[before:]
        assert received.startswith(b"HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert received.endswith(b"\r\n0\r\ngrpc-status: 0\r\n\r\n")
    assert len(proxy.dialler.attempts) == 1


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_response_trailers_end_here_otherwise(proxy: MemoryProxy, version: bytes) -> None:
    """RFC 9110 section 6.5.1: not to a client that did not say that it takes them; HTTP/1.0 has no place for them."""
    request = GET if version == b"HTTP/1.1" else GET_TE.replace(b"HTTP/1.1", version)
    client = proxy.client(request)
    backend = proxy.accept()
    assert b"TE: " not in backend.received
    backend.deliver(CHUNKED[:-2] + b"Trailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n")
    proxy.settle()
    assert b"Sum" not in client.received
    assert b"railer" not in client.received


def test_te_is_not_sent_with_an_upgrade(proxy: MemoryProxy) -> None:
    """Connection has one meaning there."""
    proxy.client(GET_TE.replace(b"Connection: TE", b"Connection: TE, Upgrade\r\nUpgrade: websocket"))
    assert b"TE: " not in proxy.accept().received


def test_malformed_trailer_of_an_upstream_cuts_the_answer_off(proxy: MemoryProxy) -> None:
    """It is never ended cleanly."""
    client = proxy.client(GET_TE)
    proxy.accept().deliver(CHUNKED + b"2\r\nab\r\n0\r\nno field\r\n\r\n")
    assert not client.received.endswith(b"0\r\n\r\n")
    assert proxy.telemetry.codes == ["malformed_response"]


# Rules


def test_request_rules(dialler: Dialler) -> None:
    """Behind everything that the worker writes itself; what the client says of the name is gone, as a trailer too."""
    proxy = MemoryProxy(dialler, ruled())
    fields = b"X_Remote_User: root\r\nX-Other: 1\r\n\r\n"
    proxy.client(POST_CHUNKED[:-2] + fields + b"0\r\nX-Remote-User: root\r\nX-Sum: 1\r\n\r\n")
    backend = proxy.accept()
    proxy.settle()
    assert b"\r\nX-Remote-User: proxy\r\n" in backend.received
    assert b"root" not in backend.received
    assert b"X-Real-IP" not in backend.received
    assert b"\r\nX-Other: 1\r\n" in backend.received
    assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in backend.received
    assert b"\r\nX-Request-ID: test-00000001\r\n" in backend.received
    assert backend.received.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_response_rules(dialler: Dialler) -> None:
    """On what comes from the upstream, trailers included; framing stays the worker's."""
    proxy = MemoryProxy(dialler, ruled())
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK.replace(b"\r\n\r\n", b"\r\nServer: x\r\nx-frame-options: ALLOW\r\n\r\n"))
    assert client.received == b"HTTP/1.1 200 OK\r\nX-Frame-Options: DENY\r\nContent-Length: 2\r\n\r\nok"
    client.deliver(GET_TE)
    backend.deliver(CHUNKED + b"0\r\nServer: x\r\nX-Sum: 1\r\n\r\n")
    assert client.received.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_response_rules_on_own_answers(dialler: Dialler) -> None:
    """Of the host: no upstream, a failing one, a redirect, a refusal; never for a host that nobody configured."""
    proxy = MemoryProxy(dialler, ruled(limits=HostLimits(max_body_bytes=1)))
    field = b"\r\nX-Frame-Options: DENY\r\n"
    client = proxy.client(GET)
    proxy.attempt.fail(OSError(errno.ECONNREFUSED, "refused"))
    assert client.received.startswith(b"HTTP/1.1 502 ")
    assert field in client.received
    too_large = proxy.client(POST_CHUNKED[:-2].replace(b"Transfer-Encoding: chunked", b"Content-Length: 2") + b"\r\n")
    assert too_large.received.startswith(b"HTTP/1.1 413 ")
    assert field in too_large.received
    assert field not in proxy.client(GET.replace(b"app", b"no")).received
    proxy.install(ruled(upstreams=()), generation=2)
    assert field in proxy.client(GET).received
    proxy.install(ruled(downstream_tls=DownstreamTLS(force_https=True)), generation=3)
    redirected = proxy.client(GET)
    assert redirected.received.startswith(b"HTTP/1.1 308 ")
    assert field in redirected.received
    assert b"\r\nLocation: https://app.test:8443/\r\n" in redirected.received


def test_hsts_stays_the_workers(dialler: Dialler) -> None:
    """The host's own max-age comes behind every rule."""
    host = ruled(
        downstream_tls=DownstreamTLS(hsts_max_age_s=60),
        response_headers=(rule("set", "Strict-Transport-Security", "max-age=0"),),
    )
    proxy = MemoryProxy(dialler, host, scheme="https")
    client = proxy.client(GET)
    proxy.accept().deliver(OK)
    assert client.received.count(b"Strict-Transport-Security: ") == 1
    assert b"\r\nStrict-Transport-Security: max-age=60\r\n" in client.received


def test_rule_that_cannot_be_applied_refuses_the_host(dialler: Dialler) -> None:
    """502 and the reason for the operator; no request goes out without the rule."""
    proxy = MemoryProxy(dialler, entry(upstream(), request_headers=(rule("set", "Content-Length", "5"),)))
    assert proxy.client(GET).received.startswith(b"HTTP/1.1 502 ")
    assert proxy.configuration.rejected == (
        ("h1", "header rule for Content-Length, which frames or routes the message"),
    )
    assert dialler.attempts == []
