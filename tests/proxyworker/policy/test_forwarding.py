"""What an upstream is told about the client's way here."""

import pytest

from proxyworker.policy.forwarding import ForwardingFields, upstream_authority, upstream_head
from proxyworker.policy.header_rules import request_rules
from proxyworker.protocol.request import parse_request
from proxyworker.snapshot import HeaderRule


@pytest.mark.parametrize(
    ("scheme", "address", "port", "server_name", "expected"),
    [
        ("http", "10.0.0.1", 80, "", b"10.0.0.1"),
        ("http", "10.0.0.1", 443, "", b"10.0.0.1:443"),
        ("https", "10.0.0.1", 443, "orders.internal", b"orders.internal"),
        ("https", "10.0.0.1", 9443, "orders.internal", b"orders.internal:9443"),
        ("https", "::1", 443, "", b"[::1]"),
        ("http", "::1", 8080, "", b"[::1]:8080"),
    ],
)
def test_upstream_authority(scheme: str, address: str, port: int, server_name: str, expected: bytes) -> None:
    """The server name override, else the address; the scheme's own port is left out."""
    assert upstream_authority(scheme=scheme, address=address, port=port, server_name=server_name) == expected


def test_forwarding_lines() -> None:
    """The client's address as the worker saw it, and the host that was asked for."""
    request = parse_request(b"GET / HTTP/1.1\r\nHost: app.test:8443\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    fields = ForwardingFields(client_address="2001:db8::1", scheme="https", port=8443)
    assert fields.lines(request, b"id-1").split(b"\r\n") == [
        b"X-Forwarded-For: 2001:db8::1",
        b"X-Real-IP: 2001:db8::1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Port: 8443",
        b'Forwarded: for="[2001:db8::1]";proto=https;host="app.test:8443"',
        b"X-Forwarded-Host: app.test:8443",
        b"X-Request-ID: id-1",
    ]
    ipv4 = ForwardingFields(client_address="192.0.2.7", scheme="http", port=80).lines(request, b"id-1")
    assert b"Forwarded: for=192.0.2.7;proto=http;host=" in ipv4


def test_upstream_head_frames_the_message_itself() -> None:
    """Hop-by-hop fields are gone; length, chunking and expectation are written anew."""
    start = b"POST /x HTTP/1.0\r\nHost: app.test\r\nConnection: X-A\r\nX-A: 1\r\nKeep-Alive: 1\r\nB: 2\r\n"
    plain = parse_request(start + b"Content-Length: 007\r\n\r\n")
    assert upstream_head(plain, authority=b"up", forwarding=b"F: 1") == (
        b"POST /x HTTP/1.1\r\nHost: up\r\nB: 2\r\nF: 1\r\nContent-Length: 7\r\n\r\n"
    )
    chunked = parse_request(
        start.replace(b"1.0", b"1.1") + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert upstream_head(chunked, authority=b"up", forwarding=b"F: 1") == (
        b"POST /x HTTP/1.1\r\nHost: up\r\nB: 2\r\nF: 1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    )


def test_upstream_head_announces_trailers() -> None:
    """Those of the request, and that the client takes some; what trailers must not say is not announced."""
    request = parse_request(
        b"POST /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum, Host\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert upstream_head(request, authority=b"up", forwarding=b"F: 1") == (
        b"POST /x HTTP/1.1\r\nHost: up\r\nF: 1\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n"
        b"Connection: TE\r\nTE: trailers\r\n\r\n"
    )


def test_rules_come_behind_what_the_worker_says() -> None:
    """Forwarding fields included; the framing is none of theirs."""
    request = parse_request(b"POST /x HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nContent-Length: 2\r\n\r\n")
    rules = request_rules([HeaderRule(action="remove", name="a"), HeaderRule(action="set", name="F", value="3")])
    assert upstream_head(request, authority=b"up", forwarding=b"F: 1\r\nG: 1", rules=rules) == (
        b"POST /x HTTP/1.1\r\nHost: up\r\nB: 2\r\nG: 1\r\nF: 3\r\nContent-Length: 2\r\n\r\n"
    )


def test_upstream_head_with_an_upgrade() -> None:
    """Only when it is permitted, and only these two fields of it."""
    request = parse_request(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x\r\nUpgrade: websocket\r\n\r\n")
    assert upstream_head(request, authority=b"up", forwarding=b"F: 1", upgrade=True) == (
        b"GET /x HTTP/1.1\r\nHost: up\r\nF: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert upstream_head(request, authority=b"up", forwarding=b"F: 1") == (
        b"GET /x HTTP/1.1\r\nHost: up\r\nF: 1\r\n\r\n"
    )
