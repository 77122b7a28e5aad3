"""The one request of a connection test, and what is read of its answer."""

import pytest

from upstream_tls.tls.answer import MAX_ANSWER_BYTES, Answer, request_bytes
from upstream_tls.tls.evidence import HTTPRefusal


def fed(data: bytes, *, at_once: int = 1) -> Answer:
    """An answer that came in pieces."""
    answer = Answer()
    for begin in range(0, len(data), at_once):
        if answer.is_complete:
            break
        answer.feed(data[begin : begin + at_once])
    return answer


def test_request_has_a_host_and_ends_the_connection() -> None:
    """One head, nothing else."""
    data = request_bytes("a.test:8443", "/healthz")
    assert data.startswith(b"GET /healthz HTTP/1.1\r\nHost: a.test:8443\r\n")
    assert b"\r\nConnection: close\r\n" in data
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_status_is_that_of_the_final_response(at_once: int) -> None:
    """Interim responses are skipped, however the bytes come."""
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n"
    answer = fed(data, at_once=at_once)
    assert (answer.status, answer.is_complete, answer.refusal) == (204, True, None)


@pytest.mark.parametrize(
    "data", [b"220 mail.test ESMTP\r\n", b"\x00\x00\x12\x04\x00", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/2 200\r\n\r\n"]
)
def test_what_is_no_http_has_no_status(data: bytes) -> None:
    """And is done with at once, so that nobody waits for more."""
    answer = fed(data)
    assert (answer.status, answer.is_complete) == (None, True)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("No required SSL certificate was sent", HTTPRefusal.NONE_SENT),
        ("The SSL certificate error", HTTPRefusal.NOT_ACCEPTED),
        ("Bad Request", None),
    ],
)
@pytest.mark.parametrize("at_once", [1, 1000])
def test_nginxs_pages_are_recognised(text: str, refusal: HTTPRefusal | None, at_once: int) -> None:
    """Its 400 with the words for a missing and for a bad certificate; any other 400 is the application's."""
    body = f"<html><title>400 {text}</title></html>".encode()
    data = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    answer = fed(data, at_once=at_once)
    assert (answer.status, answer.refusal, answer.is_complete) == (400, refusal, True)


def test_words_of_nginx_in_another_status_are_no_refusal() -> None:
    """An application may write what it likes."""
    answer = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nThe SSL certificate error")
    assert answer.refusal is None


def test_no_more_than_the_limit_is_looked_at() -> None:
    """A head without an end, and a body without one."""
    for data in (b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        answer = fed(data + b"x" * 2 * MAX_ANSWER_BYTES, at_once=4096)
        assert answer.is_complete
