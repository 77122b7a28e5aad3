"""What can go wrong with a request, split by whose fault it is and in which phase.

Laws of this module: standard library only. Errors of libraries (OpenSSL, libuv, Twisted, llhttp) are translated into
these once, at the boundary, with `from`. `reason` is for operators (log, metrics, admin); clients never see it.
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where an exchange with an upstream broke off."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    SEND = "send"
    HEAD = "head"
    BODY = "body"
    TUNNEL = "tunnel"


class RetrySafety(StrEnum):
    """What may have reached the upstream when the failure happened; set where it happens (RFC 9110 section 9.2.2)."""

    NEVER_SENT = "never_sent"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


class ProxyError(Exception):
    """Base of all errors of the data plane."""


class DownstreamProtocolError(ProxyError):
    """The client broke the protocol or a limit. `status` is the answer it gets before the connection closes."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class UpstreamError(ProxyError):
    """An upstream failed. `code` is a stable word (`docs/diagnosis.md`), `timed_out` chooses 504 over 502.

    `is_stale`: as it looks when the upstream closed a pooled connection just before it was used again.
    """

    def __init__(
        self,
        *,
        phase: Phase,
        code: str,
        reason: str,
        retry_safety: RetrySafety = RetrySafety.UNSAFE,
        timed_out: bool = False,
        is_stale: bool = False,
    ) -> None:
        super().__init__(f"{phase}: {code}: {reason}")
        self.phase = phase
        self.code = code
        self.reason = reason
        self.retry_safety = retry_safety
        self.timed_out = timed_out
        self.is_stale = is_stale
