"""When a failed exchange may be tried again (RFC 9110 section 9.2.2), and how often all those of a host together.

Laws of this module: pure; time is an argument, in seconds of a monotonic clock.
"""

from proxyworker.errors import RetrySafety
from proxyworker.protocol.request import IDEMPOTENT_METHODS, RequestHead
from proxyworker.snapshot import Retries

# What a budget earned and did not spend is worth nothing after this time. As Finagle's and Linkerd's budgets have it:
# long enough for the burst of failures when an upstream dies, too short for a quiet night to pay for a bad morning.
BUDGET_WINDOW_S = 10.0


def may_retry(request: RequestHead, safety: RetrySafety, *, body_was_sent: bool) -> bool:
    """Whether a request that failed may be sent once more.

    What was never sent may. What may have been seen is repeated only when nothing came back and the method promises
    that repeating does no harm. The worker keeps no bodies, so what was sent of one cannot be sent again.
    """
    if body_was_sent:
        return False
    if safety is RetrySafety.NEVER_SENT:
        return True
    return safety is RetrySafety.IDEMPOTENT and request.method in IDEMPOTENT_METHODS and not request.has_body


class RetryBudget:
    """A bucket of retries of one host, filled by its requests and by time.

    Whoever begins a request adds it to `requests`; everything else is worked out when a retry is wanted.
    """

    __slots__ = ("_at", "_tokens", "requests", "rules")

    def __init__(self, rules: Retries, now: float) -> None:
        self.rules = rules
        self.requests = 0
        self._at = now
        self._tokens = rules.budget_min_per_s * BUDGET_WINDOW_S

    def take(self, now: float) -> bool:
        """Takes one retry, if there is one left."""
        rules = self.rules
        elapsed_s = now - self._at
        earned = rules.budget_min_per_s * elapsed_s + rules.budget_percent / 100 * self.requests
        if elapsed_s < BUDGET_WINDOW_S:
            self._tokens = self._tokens * (1 - elapsed_s / BUDGET_WINDOW_S) + earned
        else:
            self._tokens = earned * BUDGET_WINDOW_S / elapsed_s
        self._at = now
        self.requests = 0
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
