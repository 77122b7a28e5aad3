"""When a failed exchange may be tried again (RFC 9110 section 9.2.2). Data and one pure decision."""

from proxyworker.errors import RetrySafety
from proxyworker.protocol.request import IDEMPOTENT_METHODS, RequestHead

# A broken backend may cost one request a bounded number of attempts, however many upstreams a host has.
MAX_ATTEMPTS = 4


def may_retry(request: RequestHead, *, safety: RetrySafety, attempts: int, upstreams: int, body_was_sent: bool) -> bool:
    """Whether a request whose `attempts`-th attempt failed may be sent once more.

    What was never sent goes to each of the `upstreams` once. What may have been seen is repeated only when that does no
    harm: the pooled connection was closed by the upstream meanwhile. The worker keeps no bodies, so what was sent of
    one cannot be sent again.
    """
    if attempts >= MAX_ATTEMPTS or body_was_sent:
        return False
    if safety is RetrySafety.NEVER_SENT:
        return attempts < upstreams
    return safety is RetrySafety.IDEMPOTENT and request.method in IDEMPOTENT_METHODS and not request.has_body
