"""Hearing through a real Valkey that a new generation was published."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from proxyworker import change_signal
from proxyworker.change_signal import listen
from proxyworker.snapshot import GENERATION_CHANNEL
from tests.support.valkey import PATIENCE_S, Valkey, running_valkey


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_signal, "RECONNECT_S", 0.02)


class Ear:
    """Counts what it hears, and waits for more."""

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self) -> None:
        self.heard += 1

    async def reaches(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.heard < number:
                await asyncio.sleep(0.005)
        assert self.heard == number


def listening(url: str, story: Callable[[Ear], Awaitable[Any]]) -> None:
    """Runs `story` while `listen` listens, then cancels it."""

    async def run() -> None:
        ear = Ear()
        task = asyncio.ensure_future(listen(url, heard=ear))
        try:
            await story(ear)
            assert not task.done()
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def test_hears_the_connection_and_every_message(valkey: Valkey) -> None:
    """Once when it begins to listen: messages before that are lost. Then once for each message."""

    async def story(ear: Ear) -> None:
        await ear.reaches(1)
        for number in (2, 3):
            valkey.publish(GENERATION_CHANNEL, str(number))
            await ear.reaches(number)

    listening(valkey.url, story)


def test_listens_again_after_the_server_was_killed(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Says so once each way, and looks once after it is back."""

    async def story(ear: Ear) -> None:
        await ear.reaches(1)
        valkey.kill()
        async with asyncio.timeout(PATIENCE_S):
            while not caplog.records:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)  # several attempts in vain
        await asyncio.get_running_loop().run_in_executor(None, valkey.start)
        await ear.reaches(2)
        valkey.publish(GENERATION_CHANNEL, str(3))
        await ear.reaches(3)

    with caplog.at_level(logging.INFO, "aegis.proxy"):
        listening(valkey.url, story)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "change signal is away, polling instead: ConnectionError",
        "change signal is back",
    ]


def test_a_server_that_is_not_there_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line, no exception, nothing heard."""

    async def story(ear: Ear) -> None:
        await asyncio.sleep(0.1)
        assert ear.heard == 0

    with caplog.at_level(logging.INFO, "aegis.proxy"):
        listening(f"unix://{tmp_path}/nobody.sock", story)
    assert len(caplog.records) == 1
