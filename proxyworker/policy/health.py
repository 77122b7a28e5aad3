"""Whether an upstream is up, as traffic itself shows and as active checks say, and how much it carries.

Laws of this module:
- Pure: time is an argument, in seconds of a monotonic clock.
- Failures count in a row. From `max_failures` on the upstream is out for a back-off, which doubles with each further
  failure; then one request is its trial, and only that one's outcome counts. Whatever else is still under way was begun
  before, and says nothing new.
- A success is a response, whatever its status: 5xx is the application's word, and another upstream would say the same.
- A client that leaves has proved nothing about the upstream.
- What active checks say stands beside that, and neither changes the other: an upstream is given requests while both let
  it. A check that passes ends no back-off, for what it asks may work where the requests of clients do not
  (docs/adr/0028).
"""

from collections.abc import Iterable
from math import ceil

from proxyworker.snapshot import PassiveHealth

# Nobody here knows when a check will find an upstream well again; this is how often one looks, unless told otherwise.
CHECKED_AGAIN_S = 10.0


class UpstreamState:
    """What changes about one upstream of a host. It outlives the configurations that name the upstream.

    `out_until` is 0 while it is up by its traffic; after that time it is on trial. `is_checked_up` is what active
    checks say; None: nothing. `is_doubtful`: one of the two speaks against it, so whoever wants to send it a request
    asks `admits`. `in_flight` counts requests and WebSockets: whoever sends it one adds one, and calls `begin_trial`
    while it is out.
    """

    __slots__ = ("_backoff_s", "_trial", "failures", "in_flight", "is_checked_up", "is_doubtful", "out_until")

    def __init__(self) -> None:
        self.in_flight = 0
        self.failures = 0
        self.is_doubtful = False
        self.is_checked_up: bool | None = None
        self.out_until = 0.0
        self._backoff_s = 0.0
        self._trial: object | None = None

    def admits(self, now: float) -> bool:
        """Whether it may be given a request: it is up, or due for its trial and nobody tries it yet."""
        if self.is_checked_up is False:
            return False
        return not self.out_until or (self.out_until <= now and self._trial is None)

    def checked(self, is_up: bool | None) -> bool:
        """Active checks say this of it, or None: nothing. Whether it is down by them, or is not any more, by this."""
        was_down = self.is_checked_up is False
        self.is_checked_up = is_up
        is_down = is_up is False
        self.is_doubtful = is_down or bool(self.out_until)
        return is_down != was_down

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
        self.is_doubtful = True
        return not was_out

    def recover(self) -> None:
        """It is up by its traffic, and nothing of that is held against it."""
        self.failures = 0
        self.out_until = self._backoff_s = 0.0
        self.is_doubtful = self.is_checked_up is False
        self._trial = None


def retry_after_s(states: Iterable[UpstreamState], now: float) -> int:
    """In how many whole seconds the first of `states` may be tried; at least 1 (RFC 9110 section 10.2.3)."""
    return max(1, ceil(min(_due(state, now) for state in states) - now))


def _due(state: UpstreamState, now: float) -> float:
    return max(state.out_until, now + CHECKED_AGAIN_S) if state.is_checked_up is False else state.out_until
