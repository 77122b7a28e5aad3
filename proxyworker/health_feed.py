"""Hears through Redis what active checks say of the upstreams.

Laws of this module:
- A message only says which upstream to look at. The whole hash is read at the start, after each reconnection and every
  REFRESH_S, so a lost message costs seconds. A connection that breaks is opened again for ever, without hurry.
- Old news is no news: when no sweep was seen for `stale_after_s`, nothing that the checks said holds any more and
  passive health judges alone. Redis or a checker that dies marks nobody down, and keeps nobody down.
- Age is counted here, from when the beat was last seen to change: the checker's clock may be another machine's. Only a
  beat that was there from the beginning is judged by the time in it.
- It runs between requests: what is read comes in slices of SLICE, and the loop has its turn after each.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from itertools import islice
from math import isnan
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError

from proxyworker.runtime import Configuration
from proxyworker.snapshot import HEALTH_BEAT, HEALTH_CHANNEL, HEALTH_DOWN, HEALTH_HASH, HEALTH_UP

log = logging.getLogger("aegis.proxy")

STALE_AFTER_S = 30.0
REFRESH_S = 5.0
RECONNECT_S = 1.0
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 2.0
# A millisecond of the loop's time.
SLICE = 500
# Ten times what a worker is built for. A hash that is larger was not written by the checks.
MAX_UPSTREAMS = 100_000
# When a switch fails, thousands of upstreams go down at once; each is in the metrics and in the admin.
MAX_LOGGED = 10

# redis.asyncio's annotations allow for text as well, which these clients never answer.
Client = Any

_VERDICTS = {HEALTH_UP: True, HEALTH_DOWN: False}


class HealthFeed:
    """Keeps `configuration` told of what the checks say. `clock` is monotonic, `unix_time` tells what time it is."""

    def __init__(
        self,
        url: str,
        configuration: Configuration,
        *,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self._url = url
        self._configuration = configuration
        self._clock = clock
        self._unix_time = unix_time
        self._stale_after_s = stale_after_s
        self._beat = b""
        self._beat_s = float("-inf")
        self._was_current: bool | None = None
        self._has_begun = asyncio.Event()

    @property
    def age_s(self) -> float:
        """Since the last sweep of the checks that is known of; infinite when none is."""
        return self._clock() - self._beat_s

    @property
    def is_current(self) -> bool:
        """Whether what the checks say holds."""
        return self.age_s <= self._stale_after_s

    async def begun(self, within_s: float) -> None:
        """Returns when the state of all upstreams has been read once, could not be read, or is awaited too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._has_begun.wait()

    async def follow(self) -> None:
        """Reads and listens, until cancelled. Raises nothing else."""
        while True:
            client = Redis.from_url(
                self._url,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                # Its own deadline is an asyncio.wait_for, which in Python 3.11 may swallow that this is cancelled.
                socket_timeout=None,
                retry=Retry(NoBackoff(), 0),
            )
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                    # Before the first reading, so that nothing changes unheard after it.
                    async with asyncio.timeout(CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S):
                        await subscription.subscribe(HEALTH_CHANNEL)
                    await self._keep_up(client, subscription)
            except (RedisError, OSError) as error:
                log.debug("active health cannot be read: %s", type(error).__name__)
                await self._judge()
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await client.aclose()
            self._has_begun.set()
            await self._wait(RECONNECT_S)

    async def _keep_up(self, client: Client, subscription: PubSub) -> None:
        time = asyncio.get_running_loop().time
        while True:
            await self._read_all(client)
            self._has_begun.set()
            until_s = time() + min(REFRESH_S, self._left_s())
            while (left_s := until_s - time()) > 0:
                if named := await self._heard(subscription, left_s):
                    await self._read(client, named)
            await self._judge()

    async def _heard(self, subscription: PubSub, timeout_s: float) -> set[bytes]:
        """The ids in the next message and in those right behind it: one reading is enough for all of them."""
        named: set[bytes] = set()
        while len(named) < SLICE:
            message: dict[str, Any] | None = await subscription.get_message(timeout=0 if named else timeout_s)
            if message is None:
                break
            named.add(message["data"])
        return named

    # Reading

    async def _read_all(self, client: Client) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            beat = await client.get(HEALTH_BEAT)
        self._note_beat(beat)
        await self._judge()
        if beat is None or not self.is_current:
            return  # a server that lost its memory says nothing, and not that all is forgotten
        cursor, found = 0, set[str]()
        while True:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                cursor, some = await client.hscan(HEALTH_HASH, cursor, count=SLICE)
            verdicts = _by_id(some)
            found.update(verdicts)
            if len(found) > MAX_UPSTREAMS:
                raise DataError(f"{HEALTH_HASH} has more than {MAX_UPSTREAMS} fields")
            await self._note(verdicts)
            if not cursor:
                break
        await self._note(dict.fromkeys(self._configuration.checks.keys() - found))

    async def _read(self, client: Client, named: set[bytes]) -> None:
        if not self.is_current:
            return  # whether the checks are back is asked every REFRESH_S
        ids = list(named)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            values = await client.hmget(HEALTH_HASH, ids)
        await self._note(_by_id(dict(zip(ids, values, strict=True))))

    def _note_beat(self, beat: bytes | None) -> None:
        if beat is None or beat == self._beat:
            return
        is_first, self._beat = not self._beat, beat
        self._beat_s = self._clock() - (_age_s(beat, self._unix_time()) if is_first else 0.0)

    # What follows from it

    async def _judge(self) -> None:
        """Drops what the checks said when it has become old, and says so once."""
        is_current = self.is_current
        if is_current is self._was_current or not self._beat:
            return
        self._was_current = is_current
        if is_current:
            log.info("active health is current")
        else:
            log.warning("active health is %.0f s old: passive health judges alone", self.age_s)
            await self._note(dict.fromkeys(self._configuration.checks))

    async def _note(self, verdicts: Mapping[str, bool | None]) -> None:
        known = self._configuration.checks
        news = iter([(each, is_up) for each, is_up in verdicts.items() if known.get(each) is not is_up])
        count = 0
        while some := dict(islice(news, SLICE)):
            changed = self._configuration.note_checks(some)
            for host, upstream, is_up in changed[: max(0, MAX_LOGGED - count)]:
                level, word = (logging.WARNING, "down") if is_up is False else (logging.INFO, "down no more")
                log.log(level, "upstream is %s by its checks: host=%s upstream=%s", word, host, upstream)
            count += len(changed)
            await asyncio.sleep(0)
        if count > MAX_LOGGED:
            log.warning("%d more upstreams are down by their checks, or down no more", count - MAX_LOGGED)

    def _left_s(self) -> float:
        """Until what the checks said is old; infinite when it is already."""
        left_s = self._stale_after_s - self.age_s
        return left_s if left_s >= 0 else float("inf")

    async def _wait(self, seconds: float) -> None:
        """A while, but not past the time when what the checks said is old."""
        await asyncio.sleep(min(seconds, self._left_s()))
        await self._judge()


def _by_id(values: Mapping[bytes, bytes | None]) -> dict[str, bool | None]:
    """What stands for one upstream cannot spoil what stands for the others."""
    return {each.decode("utf-8", "replace"): _VERDICTS.get(value or b"") for each, value in values.items()}


def _age_s(beat: bytes, unix_time: float) -> float:
    """By the time in it. A beat from the future is the checker's clock, which is ahead; one without a time is old."""
    try:
        age_s = unix_time - float(beat)
    except ValueError:
        return float("inf")
    return float("inf") if isnan(age_s) else max(0.0, age_s)
