"""`/healthz`, `/readyz` and `/metrics` of a worker."""

import json
import logging

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from proxyworker.management_server import METRICS_CONTENT_TYPE, management_site


def ask(path: bytes, *, problem: str = "", method: bytes = b"GET") -> tuple[int, bytes, bytes]:
    """Status, content type and body."""
    site = management_site(problem=lambda: problem, metrics=lambda: b"aegis_up 1\n")
    protocol = site.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    try:
        protocol.dataReceived(method + b" " + path + b" HTTP/1.0\r\nHost: x\r\n\r\n")
        head, _, body = transport.value().partition(b"\r\n\r\n")
    finally:
        protocol.connectionLost(Failure(ConnectionDone()))
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(head.split(b" ")[1]), fields.get(b"content-type", b""), body


def test_healthz() -> None:
    """True as long as the process answers."""
    status, content_type, body = ask(b"/healthz", problem="not ready")
    assert (status, content_type, json.loads(body)) == (200, b"application/json", {"status": "ok"})


def test_readyz() -> None:
    """503 with the reason until everything is up."""
    assert ask(b"/readyz")[::2] == (200, b'{"status": "ready"}')
    status, _, body = ask(b"/readyz", problem="the configuration is not loaded yet")
    assert status == 503
    assert json.loads(body) == {"status": "unavailable", "reason": "the configuration is not loaded yet"}


def test_metrics() -> None:
    """Prometheus's text form."""
    assert ask(b"/metrics") == (200, METRICS_CONTENT_TYPE, b"aegis_up 1\n")


@pytest.mark.parametrize("path", [b"/", b"/nothing", b"/metrics/x", b"/healthz/../x"])
def test_other_paths_are_not_found(path: bytes) -> None:
    """And show nothing."""
    assert ask(path)[0] == 404


def test_other_methods_are_not_allowed() -> None:
    """Nothing here acts on the world."""
    assert ask(b"/healthz", method=b"POST")[0] == 405


def test_head_has_no_body() -> None:
    """As GET, without the body."""
    assert ask(b"/healthz", method=b"HEAD") == (200, b"application/json", b"")


def test_an_answer_that_takes_time(caplog: pytest.LogCaptureFixture) -> None:
    """It is written when it is there; a client that has gone meanwhile is no error."""
    for is_patient in (True, False):
        pending: Deferred[str] = Deferred()
        site = management_site(problem=lambda pending=pending: pending, metrics=lambda: b"")
        protocol = site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /readyz HTTP/1.0\r\n\r\n")
        if is_patient:
            pending.callback("worker 2 is not ready")
            assert b" 503 " in transport.value().split(b"\r\n")[0]
            assert transport.value().endswith(b'"reason": "worker 2 is not ready"}')
        protocol.connectionLost(Failure(ConnectionDone()))
        if not is_patient:
            pending.callback("")
    assert caplog.records == []


def test_a_page_that_fails_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    """500 without a word of the reason."""

    def broken() -> bytes:
        raise ValueError("canary")

    site = management_site(problem=lambda: "", metrics=broken)
    protocol = site.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    with caplog.at_level(logging.ERROR, "aegis.proxy"):
        protocol.dataReceived(b"GET /metrics HTTP/1.0\r\n\r\n")
    protocol.connectionLost(Failure(ConnectionDone()))
    assert b" 500 " in transport.value().split(b"\r\n")[0]
    assert b"canary" not in transport.value()
    assert "canary" in caplog.text
