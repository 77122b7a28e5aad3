"""Counters that all web processes share: on a real Valkey, and without one."""

import logging
import threading
import time
from collections.abc import Iterator

import pytest
import time_machine
from pytest_django.fixtures import Settings

from aegis_site.kernel.throttling import REPORTS_PER_MINUTE, TooManyTests, count, count_report, count_test
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def valkey(settings: Settings) -> Iterator[Valkey]:
    """The cache is there."""
    with running_valkey() as server:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [server.url]}}
        yield server


def test_over_the_limit_it_says_how_long(valkey: Valkey) -> None:
    """Each has a counter of its own for each thing; after the window it begins again."""
    with time_machine.travel("2026-01-01 12:00:10+00:00", tick=False):
        assert [count("tests", "alice", limit=2) for _ in range(4)] == [None, None, 50, 50]
        assert count("tests", "bob", limit=2) is None
        assert count("others", "alice", limit=2) is None
    with time_machine.travel("2026-01-01 12:01:00+00:00", tick=False):
        assert count("tests", "alice", limit=2) is None


def test_no_request_is_lost_between_threads(valkey: Valkey) -> None:
    """Twenty at once are twenty."""
    refused: list[int | None] = []
    with time_machine.travel("2026-01-01 12:00:10+00:00", tick=False):
        threads = [threading.Thread(target=lambda: refused.append(count("tests", "alice", limit=5))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (refused.count(None), len(refused)) == (5, 20)


def test_names_do_not_reach_the_cache(valkey: Valkey) -> None:
    """Whatever somebody is called, the key is plain; surrogates and NUL included."""
    for who in ("a b\x00c", "ü" * 1000, ""):
        assert count("tests", who, limit=1) is None
        assert count("tests", who, limit=1) is not None


def test_tests_have_the_rate_of_the_settings(valkey: Valkey, settings: Settings) -> None:
    """The error says how long to wait."""
    settings.AEGIS_TESTS_PER_MINUTE = 1
    with time_machine.travel("2026-01-01 12:00:30+00:00", tick=False):
        count_test(1)
        with pytest.raises(TooManyTests) as refusal:
            count_test(1)
    assert (refusal.value.code, refusal.value.wait_s) == ("too_many_tests", 30)
    assert refusal.value.message == "You have asked for many tests. Try again in 30 seconds."


@pytest.mark.parametrize("url", ["unix:///nonexistent/canary.sock", "redis://:canary@127.0.0.1:1/0"])
def test_without_the_cache_nothing_is_refused(settings: Settings, caplog: pytest.LogCaptureFixture, url: str) -> None:
    """The log says so, without the URL, which may hold a password."""
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [url]}}
    with caplog.at_level(logging.WARNING):
        assert [count("tests", "alice", limit=1) for _ in range(3)] == [None, None, None]
    assert "tests is not limited: the cache is away" in caplog.text
    assert "canary" not in caplog.text


def test_a_cache_that_hangs_costs_half_a_second(valkey: Valkey, settings: Settings) -> None:
    """A stopped Redis holds no request up."""
    assert count("tests", "alice", limit=1) is None
    valkey.pause()
    try:
        began = time.monotonic()
        assert count("tests", "alice", limit=1) is None
        assert 0.4 < time.monotonic() - began < 5
    finally:
        valkey.resume()


def test_reports_have_a_rate_of_their_own(valkey: Valkey) -> None:
    """Each user has so many a minute, whatever else was asked for."""
    with time_machine.travel("2026-01-01 12:00:10+00:00", tick=False):
        assert [count_report(1) for _ in range(REPORTS_PER_MINUTE + 1)] == [*[None] * REPORTS_PER_MINUTE, 50]
        assert count_report(2) is None
