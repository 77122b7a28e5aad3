"""publishing: the feed in a real Valkey."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from healthchecks.models import HealthState, UpstreamHealth
from healthchecks.publishing import publish
from hosts.specs import UpstreamSpec
from proxyworker.snapshot import HEALTH_BEAT, HEALTH_CHANNEL, HEALTH_DOWN, HEALTH_HASH, HEALTH_UP
from tests.healthchecks.examples import NOW, checked_host, claims_of_all
from tests.support.valkey import Valkey, running_valkey

pytestmark = pytest.mark.django_db


@pytest.fixture
def valkey(settings: Any) -> Iterator[Valkey]:
    with running_valkey() as server:
        settings.AEGIS_REDIS_URL = server.url
        yield server


def stand(*states: HealthState) -> list[bytes]:
    """Upstreams with these states; their ids."""
    checked_host(upstreams=[UpstreamSpec(address="10.0.0.7", port=port) for port in range(1, len(states) + 1)])
    claims_of_all(NOW)
    rows = list(UpstreamHealth.objects.all())
    for row, state in zip(rows, states, strict=True):
        UpstreamHealth.objects.filter(pk=row.pk).update(state=state)
    return [str(row.pk).encode() for row in rows]


def test_workers_find_every_verdict_and_the_beat(valkey: Valkey) -> None:
    """Unknown ones have no entry; what changed is announced, once."""
    up, down, _ = stand(HealthState.HEALTHY, HealthState.UNHEALTHY, HealthState.UNKNOWN)
    with Redis.from_url(valkey.url) as client, client.pubsub() as listener:
        listener.subscribe(HEALTH_CHANNEL)
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        publish(beat=1764000000.4)
        assert client.hgetall(HEALTH_HASH) == {up: HEALTH_UP, down: HEALTH_DOWN}
        assert client.get(HEALTH_BEAT) == b"1764000000"
        assert {listener.get_message(timeout=5)["data"] for _ in range(2)} == {up, down}
        publish()
        assert listener.get_message(timeout=0) is None


def test_what_is_not_checked_any_more_is_removed(valkey: Valkey) -> None:
    """And what a restarted Valkey has lost is there again."""
    [up] = stand(HealthState.HEALTHY)
    with Redis.from_url(valkey.url) as client:
        client.hset(HEALTH_HASH, "gone", HEALTH_DOWN)
        publish()
        assert client.hgetall(HEALTH_HASH) == {up: HEALTH_UP}
        client.flushall()
        publish()
        assert client.hgetall(HEALTH_HASH) == {up: HEALTH_UP}


def test_a_redis_that_is_away_is_logged(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without its URL, which may hold a password."""
    settings.AEGIS_REDIS_URL = "unix:///nowhere/valkey.sock?password=canary"
    with caplog.at_level(logging.WARNING):
        publish(beat=1.0)
    assert "ConnectionError" in caplog.text
    assert "canary" not in caplog.text
