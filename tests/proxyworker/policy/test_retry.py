"""When a failed exchange may be tried again."""

import pytest

from proxyworker.errors import RetrySafety
from proxyworker.policy.retry import MAX_ATTEMPTS, may_retry
from proxyworker.protocol.request import RequestHead, parse_request

GET = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
POST = parse_request(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
PUT_BODY = parse_request(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")

NEVER, IDEMPOTENT, UNSAFE = RetrySafety.NEVER_SENT, RetrySafety.IDEMPOTENT, RetrySafety.UNSAFE


@pytest.mark.parametrize(
    ("request_head", "safety", "attempts", "upstreams", "body_was_sent", "expected"),
    [
        (GET, NEVER, 1, 1, False, False),  # each upstream once
        (GET, NEVER, 1, 2, False, True),
        (POST, NEVER, 1, 2, False, True),  # nothing was sent: any method
        (PUT_BODY, NEVER, 1, 2, False, True),
        (PUT_BODY, NEVER, 1, 2, True, False),  # no body is kept
        (GET, NEVER, MAX_ATTEMPTS, 99, False, False),
        (GET, IDEMPOTENT, 1, 1, False, True),  # a stale pooled connection
        (POST, IDEMPOTENT, 1, 1, False, False),
        (PUT_BODY, IDEMPOTENT, 1, 1, False, False),
        (GET, UNSAFE, 1, 9, False, False),
    ],
)
def test_may_retry(  # noqa: PLR0917 (one column of the table each)
    request_head: RequestHead,
    safety: RetrySafety,
    attempts: int,
    upstreams: int,
    body_was_sent: bool,
    expected: bool,
) -> None:
    """What was never sent goes to each upstream once; what may have been seen only when repeating does no harm."""
    decision = may_retry(
        request_head, safety=safety, attempts=attempts, upstreams=upstreams, body_was_sent=body_was_sent
    )
    assert decision is expected
