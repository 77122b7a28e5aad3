"""Tells the proxy workers how the upstreams stand (`proxyworker.snapshot`).

Laws of this module:
- The hash is made equal to the database each time, so an emptied or restarted Redis has the present state with the next
  sweep. Entries come first, then the beat that says that they are fresh.
- Redis that is away holds up nothing: it is logged, and the next sweep tries again.
"""

import logging
from collections.abc import Mapping
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from healthchecks.claims import verdicts
from healthchecks.models import HealthState
from proxyworker.snapshot import HEALTH_BEAT, HEALTH_CHANNEL, HEALTH_DOWN, HEALTH_HASH, HEALTH_UP

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.5

_VALUES = {HealthState.HEALTHY: HEALTH_UP, HealthState.UNHEALTHY: HEALTH_DOWN}


def publish(*, beat: float | None = None) -> None:
    """Brings the feed up to date, and sets its beat when there is one: the time of a sweep. One query."""
    wanted = {upstream_id.encode(): _VALUES[state] for upstream_id, state in verdicts().items()}
    client = redis.Redis.from_url(
        settings.AEGIS_REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        _write(client, wanted, beat)
    except (redis.RedisError, OSError) as error:
        # The error's text may hold the URL, and that a password.
        logger.warning("the health of upstreams was not published: %s", type(error).__name__)
    finally:
        client.close()


def _write(client: redis.Redis, wanted: dict[bytes, bytes], beat: float | None) -> None:
    present: Mapping[Any, Any] = client.hgetall(HEALTH_HASH)
    changed: Mapping[Any, Any] = {
        upstream_id: value for upstream_id, value in wanted.items() if present.get(upstream_id) != value
    }
    gone = present.keys() - wanted.keys()
    pipeline = client.pipeline(transaction=True)
    if changed:
        pipeline.hset(HEALTH_HASH, mapping=changed)
    if gone:
        pipeline.hdel(HEALTH_HASH, *gone)
    for upstream_id in (*changed, *gone):
        pipeline.publish(HEALTH_CHANNEL, upstream_id)
    if beat is not None:
        pipeline.set(HEALTH_BEAT, f"{beat:.0f}")
    pipeline.execute()
