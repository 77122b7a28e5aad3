"""The signals by which a supervising process is told to stop.

Laws of this module: the first one is a wish; another one, a moment later, does not want to wait any longer.
"""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred

# timeout(1) and make(1) send a signal twice: to the process and to its group.
IMPATIENT_AFTER_S = 1.0


class StopSignals:
    """`wish` fires when the first signal has come; `insist` is called at each one that comes a moment later."""

    def __init__(self, *, reactor: Any, insist: Callable[[], None]) -> None:
        self._reactor = reactor
        self._insist = insist
        self._insist_from = 0.0
        self.is_stop_requested = False
        self.wish: Deferred[None] = Deferred()

    def take(self) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP come here. Twisted takes them at its own start, so call it after."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.signalled)

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """One has come."""
        now = self._reactor.seconds()
        if not self.is_stop_requested:
            self.is_stop_requested, self._insist_from = True, now + IMPATIENT_AFTER_S
            self._reactor.callFromThread(self.wish.callback, None)
        elif now > self._insist_from:
            self._insist()
