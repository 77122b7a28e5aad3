"""What the client is told when an upstream fails. The operator is told everything elsewhere."""

from proxyworker.errors import UpstreamError

PERMANENT_REDIRECT = 308
NO_SUCH_HOST = 404
MISDIRECTED = 421
HOST_REJECTED = 502
NO_UPSTREAM = 503


def status_for(error: UpstreamError) -> int:
    """504 when a deadline passed, else 502 (RFC 9110 sections 15.6.3 and 15.6.5)."""
    return 504 if error.timed_out else 502
