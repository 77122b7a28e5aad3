"""How often somebody may do something: counters that all web processes share, in the cache.

Laws of this module:
- A counter covers a fixed window; around its end twice the limit can fit into one window's time.
- Without the cache nothing is refused here: what is limited needs Redis anyway, and says by itself that it is away.
- No view is imported: DRF loads this module while it loads those.
- Whatever comes from a client is hashed before it becomes part of a key.
"""

import hashlib
import logging
import math
import time

import redis
from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from aegis_site.kernel.errors import AegisError

logger = logging.getLogger(__name__)

WINDOW_S = 60

# A report of all hosts costs seconds of a web process (2 s for 1 000 hosts).
REPORTS_PER_MINUTE = 10


class TooManyTests(AegisError):
    """One user asked for more tests than AEGIS_TESTS_PER_MINUTE; `wait_s` is how long to wait."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("too_many_tests", f"You have asked for many tests. Try again in {wait_s} seconds.")
        self.wait_s = wait_s


def count(name: str, who: str, *, limit: int, window_s: int = WINDOW_S) -> int | None:
    """Count one more. None while `who` is within the limit, else the seconds until the window ends (at least 1)."""
    now = time.time()
    window = int(now // window_s)
    key = f"throttle:{name}:{hashlib.sha256(who.encode()).hexdigest()[:32]}:{window}"
    try:
        cache.add(key, 0, timeout=window_s + 1)
        number = cache.incr(key)
    except ValueError:  # it expired in between: the window is over
        return None
    except (redis.RedisError, OSError) as error:
        # The error's text may hold the URL, and that a password.
        logger.warning("%s is not limited: the cache is away (%s)", name, type(error).__name__)
        return None
    return None if number <= limit else math.ceil((window + 1) * window_s - now)


def count_test(user_id: object) -> None:
    """Count one request for tests of upstreams by this user. Raises TooManyTests."""
    if (wait_s := count("tests", str(user_id), limit=settings.AEGIS_TESTS_PER_MINUTE)) is not None:
        raise TooManyTests(wait_s)


def count_report(user_id: object) -> int | None:
    """Count one report of all hosts for this user. None within REPORTS_PER_MINUTE, else the seconds to wait."""
    return count("reports", str(user_id), limit=REPORTS_PER_MINUTE)


class ConnectionTestThrottle(BaseThrottle):
    """For views that have upstreams tested: 429 with Retry-After over the rate of the user."""

    _wait_s: int | None = None

    def allow_request(self, request: Request, view: object) -> bool:
        try:
            count_test(request.user.pk)
        except TooManyTests as error:
            self._wait_s = error.wait_s
        return self._wait_s is None

    def wait(self) -> int | None:
        return self._wait_s
