"""The data plane under random events: whatever comes in whatever order, some things always hold.

Laws of this module: a run is told by its seed alone. Clients and upstreams know the protocol by themselves; what they
see is checked while it comes (an upstream) or at the end (a client). Nothing here says what has to be answered, only
what must never happen.
"""

import logging
from random import Random

import pytest

from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.random_world import World

# Enough to reach every kind of end, few enough for two seconds. A seed that once failed stays.
SEEDS = range(60)
EVENTS = 250


@pytest.mark.parametrize("seed", SEEDS)
def test_what_always_holds(
    seed: int, dialler: Dialler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is answered at most once and by its own exchange, nothing is raised, and nothing is left over."""
    random = Random(seed)
    monkeypatch.setattr("proxyworker.runtime.random", random)
    world = World(dialler, random)
    for _ in range(EVENTS):
        world.happen()
    world.end()
    world.check()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
