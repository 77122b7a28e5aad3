"""stop_signals: the first is a wish, a later one is impatience."""

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from aegis_site.stop_signals import IMPATIENT_AFTER_S, StopSignals


class FakeReactor(Clock):
    """A clock that is its own thread."""

    def callFromThread(self, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)


def test_a_second_signal_counts_a_moment_later_only() -> None:
    """Some programs send a signal to a process and to its group; that is one wish, not two."""
    reactor, insisted = FakeReactor(), list[int]()
    signals = StopSignals(reactor=reactor, insist=lambda: insisted.append(1))
    assert not signals.is_stop_requested
    for _ in range(2):
        signals.signalled(signal.SIGTERM, None)
        assert (signals.wish.called, signals.is_stop_requested, insisted) == (True, True, [])
    reactor.advance(IMPATIENT_AFTER_S * 1.01)
    signals.signalled(signal.SIGTERM, None)
    assert insisted == [1]


def test_it_takes_what_a_terminal_and_a_supervisor_send() -> None:
    """Ctrl-C, a polite kill, and the end of the terminal."""
    signals = StopSignals(reactor=FakeReactor(), insist=lambda: None)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        signals.take()
        assert {signal.getsignal(number) for number in numbers} == {signals.signalled}
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
