"""Hears through Redis that a new generation was published.

Laws of this module: a connection that breaks is opened again for ever, without hurry; whoever listens looks once after
each reconnection, because messages are not kept for those who are away.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from proxyworker.snapshot import GENERATION_CHANNEL

log = logging.getLogger("aegis.proxy")

RECONNECT_S = 1.0
CONNECT_TIMEOUT_S = 2.0

# A peer that vanished without a word is noticed by a ping that is not answered.
HEALTH_CHECK_S = 10


async def listen(url: str, *, heard: Callable[[], None]) -> None:
    """Calls `heard` for every message and after each (re)connection, until cancelled. Raises nothing else."""
    was_away = False
    while True:
        client = Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            health_check_interval=HEALTH_CHECK_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(GENERATION_CHANNEL)
                if was_away:
                    log.info("change signal is back")
                was_away = False
                heard()
                await _hear(subscription, heard)
        except (RedisError, OSError) as error:
            if not was_away:
                log.warning("change signal is away, polling instead: %s", type(error).__name__)
            was_away = True
        finally:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()
        await asyncio.sleep(RECONNECT_S)


async def _hear(subscription: PubSub, heard: Callable[[], None]) -> None:
    while True:
        if await subscription.get_message(timeout=HEALTH_CHECK_S) is not None:
            heard()
