"""Whether an upstream is up, as traffic itself shows, and how much it carries.

Laws of this module:
- Pure: time is an argument, in seconds of a monotonic clock.
- Failures count in a row. From `max_failures` on the upstream is out for a back-off, which doubles with each further
  failure; then one request is its trial, and only that one's outcome counts. Whatever else is still under way was begun
  before, and says nothing new.
- A success is a response, whatever its status: 5xx is the application's word, and another upstream would say the same.
- A client that leaves has proved nothing about the upstream.
"""

from collections.abc import Iterable
from math import ceil

from proxyworker.snapshot import PassiveHealth


class UpstreamState:
    """What changes about one upstream of a host. It outlives the configurations that name the upstream.

    `out_until` is 0 while it is up; after that time it is on trial. `in_flight` counts requests and WebSockets: whoever
    sends it one adds one, and calls `begin_trial` while it is out.
    """

    __slots__ = ("_backoff_s", "_trial", "failures", "in_flight", "out_until")

    def __init__(self) -> None:
        self.in_flight = 0
        self.failures = 0
        self.out_until = 0.0
        self._backoff_s = 0.0
        self._trial: object | None = None

    def admits(self, now: float) -> bool:
        """Whether it may be given a request: it is up, or due for its trial and nobody tries it yet."""
        return not self.out_until or (self.out_until <= now and self._trial is None)

    def begin_trial(self, request: object) -> None:
        """It was due, and `request` goes to it. Until that has an outcome, or ends without one, none other does."""
        self._trial = request

    def end(self, request: object) -> None:
        """`request`, which was in flight, is over. A trial without an outcome leaves the next request to be one."""
        self.in_flight -= 1
        if self._trial is request:
            self._trial = None

    def succeeded(self, request: object) -> bool:
        """`request` was answered. Whether the upstream is back by it."""
        if not self.out_until:
            self.failures = 0
            return False
        if self._trial is not request:
            return False
        self.recover()
        return True

    def failed(self, request: object, rules: PassiveHealth, now: float) -> bool:
        """`request` got no answer, or no complete one. Whether the upstream is out by it, if it was not before."""
        was_out = self.out_until
        if was_out and self._trial is not request:
            return False
        self.failures += 1
        if not rules.max_failures or self.failures < rules.max_failures:
            return False
        self._backoff_s = min(self._backoff_s * 2 or rules.backoff_s, rules.backoff_max_s)
        self.out_until = now + self._backoff_s
        return not was_out

    def recover(self) -> None:
        """It is up, and nothing is held against it."""
        self.failures = 0
        self.out_until = self._backoff_s = 0.0
        self._trial = None


def retry_after_s(states: Iterable[UpstreamState], now: float) -> int:
    """In how many whole seconds the first of `states` is due for its trial; at least 1 (RFC 9110 section 10.2.3)."""
    return max(1, ceil(min(state.out_until for state in states) - now))
