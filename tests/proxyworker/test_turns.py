"""Work that takes longer than a request may wait, in turns on the reactor thread."""

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from proxyworker import turns
from proxyworker.turns import Turns


def start(clock: Clock, parts: Iterator[bytes]) -> Deferred[bytes]:
    """A turn of the reactor is a second of `clock`, so that it ends."""
    return Turns(lambda turn: clock.callLater(1, turn)).joined(parts)


def test_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """After TURN_S, which is over at once here; the parts are joined in their order."""
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    clock = Clock()
    made: list[bytes] = []
    start(clock, iter([b"a", b"b", b"c"])).addCallback(made.append)
    number = 0
    while not made:
        clock.advance(1)
        number += 1
    assert made == [b"abc"]
    assert number >= 3


def test_short_work_takes_one_turn() -> None:
    """Steps are not spread further than they have to be."""
    clock = Clock()
    made: list[bytes] = []
    start(clock, iter([b"a", b"b"])).addCallback(made.append)
    assert made == []
    clock.advance(1)
    assert made == [b"ab"]


def test_work_that_fails_has_no_result() -> None:
    """Not the parts made before either."""

    def parts() -> Iterator[bytes]:
        yield b"a"
        raise RuntimeError("broken")

    clock = Clock()
    failed: list[str] = []
    start(clock, parts()).addErrback(lambda failure: failed.append(failure.getErrorMessage()))
    clock.advance(1)
    assert failed == ["broken"]
