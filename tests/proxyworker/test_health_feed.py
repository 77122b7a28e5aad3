"""Hearing through a real Valkey what active checks say of upstreams."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis import Redis

from proxyworker import health_feed
from proxyworker.build import build
from proxyworker.health_feed import HealthFeed
from proxyworker.net.deadlines import Sweep
from proxyworker.runtime import Configuration
from proxyworker.snapshot import HEALTH_BEAT, HEALTH_CHANNEL, HEALTH_HASH
from tests.proxyworker.net.proxy import entry, loaded, upstream
from tests.support.valkey import PATIENCE_S, Valkey, running_valkey

UNIX_TIME = 1_700_000_000.0


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_feed, "RECONNECT_S", 0.02)
    monkeypatch.setattr(health_feed, "REFRESH_S", 0.02)


@pytest.fixture
def _in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard within the test's time came by a message."""
    monkeypatch.setattr(health_feed, "REFRESH_S", 3600.0)


class Checks:
    """What the control plane does."""

    def __init__(self, valkey: Valkey) -> None:
        self._client = Redis.from_url(valkey.url)
        self._sweeps = 0

    def sweep(self, at: float | str | None = None) -> None:
        """One has ended."""
        self._sweeps += 1
        self._client.set(HEALTH_BEAT, UNIX_TIME + self._sweeps if at is None else at)

    def say(self, aloud: bool = True, **verdicts: str) -> None:
        """These are the verdicts on some upstreams; with or without the message."""
        self._client.hset(HEALTH_HASH, mapping=verdicts)
        for upstream_id in verdicts if aloud else ():
            self._client.publish(HEALTH_CHANNEL, upstream_id)

    def forget(self, upstream_id: str) -> None:
        """It is not checked any more."""
        self._client.hdel(HEALTH_HASH, upstream_id)


class Follower:
    """A feed on a clock that the test moves, and the configuration that it keeps told: host h1 has u1 and u2."""

    def __init__(self, url: str) -> None:
        self.now = 1000.0
        self.configuration = Configuration(loop=None, sweep=Sweep(lambda: 0.0))  # type: ignore[arg-type]
        self.configuration.install([build(loaded(entry(upstream(1), upstream(2))))])
        self.feed = HealthFeed(url, self.configuration, clock=lambda: self.now, unix_time=lambda: UNIX_TIME)

    @property
    def verdicts(self) -> dict[str, bool | None]:
        """Of the upstreams in force, as the balancer sees them."""
        route = self.configuration.current.find(b"app.test")
        assert route is not None
        return {target.upstream_id: target.state.is_checked_up for target in route.targets}

    async def sees(self, one: bool | None, two: bool | None) -> None:
        """Waits for these verdicts."""
        await until(lambda: self.verdicts == {"u1": one, "u2": two})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def following(url: str, story: Callable[[Follower], Awaitable[Any]]) -> None:
    """Runs `story` while the feed follows, then cancels it."""

    async def run() -> None:
        follower = Follower(url)
        task = asyncio.ensure_future(follower.feed.follow())
        try:
            await story(follower)
            assert not task.done()
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def in_thread(function: Callable[[], object]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, function)


@pytest.mark.usefixtures("_in_no_hurry")
def test_the_state_is_there_at_the_start_and_follows_messages(valkey: Valkey) -> None:
    """All of it when it begins, and each change when it is said; words that nobody knows say nothing."""
    checks = Checks(valkey)
    checks.sweep()
    checks.say(aloud=False, u1="down", other="up")

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        assert follower.verdicts == {"u1": False, "u2": None}
        assert follower.configuration.checks == {"u1": False, "other": True}
        for one, two in (("up", "down"), ("down", "up"), ("dunno", "down")):
            checks.say(u1=one, u2=two)
            await follower.sees({"up": True, "down": False}.get(one), two == "up")

    following(valkey.url, story)


@pytest.mark.usefixtures("_in_no_hurry")
def test_thousands_that_change_at_once(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Each message is acted on, whatever comes with it; the log names a few."""
    checks = Checks(valkey)
    checks.sweep()

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        hosts = [
            entry(upstream(number), domain=f"d{number}.test", host_id=f"host{number}") for number in range(10, 1510)
        ]
        follower.configuration.install([build(loaded(host)) for host in hosts])
        await in_thread(lambda: checks.say(**{f"u{number}": "down" for number in range(1, 1510)}))
        await until(lambda: len(follower.configuration.checks) == 1509)
        await follower.sees(False, False)

    with caplog.at_level(logging.INFO, "aegis.proxy"):
        following(valkey.url, story)
    down = [message for message in caplog.messages if "is down by its checks" in message]
    assert re.fullmatch(r"upstream is down by its checks: host=\S+ upstream=http://10\.0\.0\.\d+:8080", down[0])
    left_out = sum(int(message.split()[0]) for message in caplog.messages if "more upstreams are down" in message)
    assert len(down) + left_out == 1502
    assert left_out > 100


def test_a_lost_message_costs_seconds(valkey: Valkey) -> None:
    """The hash is read every few seconds; who has no entry any more is not judged any more."""
    checks = Checks(valkey)
    checks.sweep()

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        checks.say(aloud=False, u1="down", u2="up")
        await follower.sees(False, True)
        checks.forget("u1")
        await follower.sees(None, True)

    following(valkey.url, story)


def test_old_news_is_dropped_and_new_news_taken_up(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A checker that dies keeps nobody down; one line each way."""
    checks = Checks(valkey)
    checks.sweep()
    checks.say(u1="down", u2="up")

    async def story(follower: Follower) -> None:
        await follower.sees(False, True)
        follower.now += 29.9
        await asyncio.sleep(0.1)  # read several times meanwhile
        assert follower.verdicts == {"u1": False, "u2": True}
        assert follower.feed.is_current
        follower.now += 0.2
        await follower.sees(None, None)
        assert not follower.feed.is_current
        assert follower.feed.age_s == pytest.approx(30.1)
        checks.say(u2="down")
        await asyncio.sleep(0.1)
        assert follower.verdicts == {"u1": None, "u2": None}
        checks.sweep()
        await follower.sees(False, False)
        assert follower.feed.age_s == 0

    with caplog.at_level(logging.INFO, "aegis.proxy"):
        following(valkey.url, story)
    assert [message for message in caplog.messages if message.startswith("active health")] == [
        "active health is current",
        "active health is 30 s old: passive health judges alone",
        "active health is current",
    ]


@pytest.mark.parametrize(
    ("at", "is_believed"),
    [
        (UNIX_TIME - 29, True),
        (UNIX_TIME - 31, False),
        (UNIX_TIME + 900, True),
        ("-inf", False),
        ("nan", False),
        ("soon", False),
    ],
)
def test_a_beat_from_before_is_judged_by_its_time(valkey: Valkey, at: float | str, is_believed: bool) -> None:
    """Until it moves: then the checks are alive, whatever their clock shows."""
    checks = Checks(valkey)
    checks.say(u1="down")
    checks.sweep(at)

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        assert follower.verdicts == {"u1": False if is_believed else None, "u2": None}
        assert follower.feed.is_current is is_believed
        checks.sweep(UNIX_TIME - 7200)
        await follower.sees(False, None)

    following(valkey.url, story)


def test_without_checks_nothing_is_said(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """No sweep ever: its age is infinite, and that is no news."""

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        assert follower.feed.age_s == float("inf")
        assert not follower.feed.is_current

    with caplog.at_level(logging.INFO, "aegis.proxy"):
        following(valkey.url, story)
    assert caplog.messages == []


def test_a_server_that_is_killed_changes_nothing_until_its_news_is_old(valkey: Valkey) -> None:
    """Nor does one that comes back without its memory; when the checks go on there, they hold at once."""
    checks = Checks(valkey)
    checks.sweep()
    checks.say(u1="down")

    async def story(follower: Follower) -> None:
        await follower.sees(False, None)
        valkey.kill()
        await asyncio.sleep(0.1)  # several attempts in vain
        assert follower.verdicts == {"u1": False, "u2": None}
        await in_thread(valkey.start)
        await asyncio.sleep(0.1)
        assert follower.verdicts == {"u1": False, "u2": None}
        valkey.kill()
        follower.now += 30.1
        await follower.sees(None, None)
        await in_thread(valkey.start)
        checks.say(u2="down")
        checks.sweep()
        await follower.sees(None, False)

    following(valkey.url, story)


def test_a_server_that_hangs_is_left_after_a_while(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections are open and nobody answers: what it said grows old all the same."""
    monkeypatch.setattr(health_feed, "ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(health_feed, "CONNECT_TIMEOUT_S", 0.05)
    checks = Checks(valkey)
    checks.sweep()
    checks.say(u1="down")

    async def story(follower: Follower) -> None:
        await follower.sees(False, None)
        valkey.pause()
        try:
            follower.now += 30.1
            await follower.sees(None, None)
        finally:
            valkey.resume()
        checks.sweep()
        await follower.sees(False, None)

    following(valkey.url, story)


def test_a_worker_does_not_wait_for_a_server_that_is_not_there(tmp_path: Path) -> None:
    """It has begun when it could not be read; and when it hangs, after the time that was given."""

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        assert follower.verdicts == {"u1": None, "u2": None}

    following(f"unix://{tmp_path}/nobody.sock", story)

    async def never() -> None:
        await Follower("unix:///nowhere").feed.begun(0.01)

    asyncio.run(never())


def test_a_hash_that_has_no_end_is_not_kept(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs memory up to a limit, and after that what it says is old."""
    monkeypatch.setattr(health_feed, "MAX_UPSTREAMS", 1000)
    monkeypatch.setattr(health_feed, "SLICE", 100)
    checks = Checks(valkey)
    checks.say(aloud=False, **{f"x{number}": "up" for number in range(5000)})
    checks.sweep()

    async def story(follower: Follower) -> None:
        await follower.feed.begun(PATIENCE_S)
        await asyncio.sleep(0.1)
        assert len(follower.configuration.checks) <= 1000

    following(valkey.url, story)
