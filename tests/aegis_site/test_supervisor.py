"""supervisor: starts again what dies, stops what it is told to, and loses no line. No process is started here."""

import os
import signal
from typing import Any

import pytest
from twisted.internet import defer
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aegis_site.supervisor import (
    LINE_MAX_BYTES,
    RESTART_DELAY_MAX_S,
    RESTART_DELAY_MIN_S,
    STARTED_WELL_S,
    STOP_DEADLINE_S,
    TETHER,
    Child,
    Supervisor,
)

# Above the highest process id that Linux gives out, so that no signal meets a real process.
NO_PID = 2**22 + 1


class FakeProcess:
    """A process transport. `signals` are those that it got; it ends when the test says so."""

    def __init__(self, protocol: Any, argv: tuple[str, ...], env: dict[str, str], descriptors: dict[int, Any]) -> None:
        self.protocol, self.argv, self.env, self.descriptors = protocol, argv, env, descriptors
        self.pid = NO_PID
        self.signals: list[int] = []
        self.has_ended = False
        protocol.makeConnection(self)

    def closeStdin(self) -> None:
        pass

    def signalProcess(self, number: int) -> None:
        if self.has_ended:
            raise ProcessExitedAlready
        self.signals.append(number)

    def end(self, *, status: int | None = None, number: int | None = None) -> None:
        self.has_ended = True
        reason = Failure(ProcessTerminated(status, number) if status or number else ProcessDone(0))
        self.protocol.processExited(reason)
        self.protocol.processEnded(reason)


class FakeReactor(Clock):
    """A clock that also spawns."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[FakeProcess] = []
        self.refuses_to_spawn = False

    def spawnProcess(self, protocol: Any, executable: str, argv: tuple[str, ...], **more: Any) -> None:
        if self.refuses_to_spawn:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.spawned.append(FakeProcess(protocol, argv, more["env"], more["childFDs"]))


class Stage:
    """A supervisor with what it said and spawned."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.said: list[tuple[str, bytes]] = []
        self.supervisor = Supervisor(reactor=self.reactor, say=lambda name, line: self.said.append((name, line)))

    def start(self, name: str = "web", **more: Any) -> FakeProcess:
        self.supervisor.start(Child(name=name, argv=("serve", "-v"), env={"A": "1"}, **more))
        return self.reactor.spawned[-1]

    def stop(self, *names: str) -> "defer.Deferred[None]":
        return defer.ensureDeferred(self.supervisor.stop(names or None))

    @property
    def runs(self) -> int:
        return len(self.reactor.spawned)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_child_is_tethered_to_this_process_with_exactly_its_environment(stage: Stage) -> None:
    """The command line goes through the tether; nothing of this process's environment leaks in."""
    process = stage.start()
    assert process.argv[-5:] == ("-S", str(TETHER), str(os.getpid()), "serve", "-v")
    assert process.env == {"A": "1"}


def test_output_is_passed_on_line_by_line(stage: Stage) -> None:
    """Pieces are joined, both streams are kept apart, and what has no newline at the end is not lost."""
    process = stage.start()
    process.protocol.outReceived(b"one\ntw")
    process.protocol.errReceived(b"err\n")
    process.protocol.outReceived(b"o\nlast")
    process.end(status=1)
    assert [line for _, line in stage.said[:4]] == [b"one", b"err", b"two", b"last"]


def test_an_endless_line_is_passed_on_in_pieces(stage: Stage) -> None:
    """A child cannot fill the memory by never writing a newline."""
    process = stage.start()
    process.protocol.outReceived(b"x" * (2 * LINE_MAX_BYTES + 1))
    assert [len(line) for _, line in stage.said] == [LINE_MAX_BYTES, LINE_MAX_BYTES]
    process.protocol.outReceived(b"\n")
    assert stage.said[-1] == ("web", b"x")


def test_noise_is_dropped(stage: Stage) -> None:
    """Lines that contain what the child is known to say for nothing are not passed on."""
    process = stage.start(noise=(b"overcommit",))
    process.protocol.errReceived(b"WARNING overcommit must be\nreal trouble\n")
    assert stage.said == [("web", b"real trouble")]


def test_a_child_that_ran_well_is_started_again_at_once(stage: Stage) -> None:
    """kill -9 costs a quarter of a second, every time."""
    for runs in (2, 3):
        stage.start() if stage.runs == 0 else None
        stage.reactor.advance(STARTED_WELL_S)
        stage.reactor.spawned[-1].end(number=signal.SIGKILL)
        stage.reactor.advance(RESTART_DELAY_MIN_S)
        assert stage.runs == runs
    assert stage.said[0] == ("web", b"ended by SIGKILL; starting it again in 0.25 s")


def test_a_crash_loop_backs_off_to_the_maximum(stage: Stage) -> None:
    """The delay doubles with every early death and stays at its maximum."""
    stage.start()
    delays = []
    for _ in range(8):
        stage.reactor.spawned[-1].end(status=1)
        delays.append(float(stage.said[-1][1].split()[-2]))
        stage.reactor.advance(delays[-1])
    assert delays == [0.25, 0.5, 1, 2, 4, 8, RESTART_DELAY_MAX_S, RESTART_DELAY_MAX_S]
    assert stage.runs == 9


def test_a_process_that_cannot_be_spawned_is_tried_again(stage: Stage) -> None:
    """No free process now does not mean none later."""
    stage.start()
    stage.reactor.advance(STARTED_WELL_S)
    stage.reactor.refuses_to_spawn = True
    stage.reactor.spawned[-1].end()
    stage.reactor.advance(RESTART_DELAY_MIN_S)
    stage.reactor.refuses_to_spawn = False
    assert stage.said[-1][1].startswith(b"could not be started: Resource temporarily unavailable; starting it again")
    stage.reactor.advance(RESTART_DELAY_MAX_S)
    assert stage.runs == 2


def test_stopping_waits_for_the_end_and_starts_nothing_again(stage: Stage) -> None:
    """SIGTERM, then patience."""
    process = stage.start()
    stopped = stage.stop()
    assert process.signals == [signal.SIGTERM]
    assert not stopped.called
    process.end()
    assert stopped.called
    stage.reactor.advance(STOP_DEADLINE_S * 2)
    assert (stage.runs, process.signals, stage.supervisor.names) == (1, [signal.SIGTERM], ())


def test_a_child_that_does_not_stop_is_killed_after_the_deadline(stage: Stage) -> None:
    """No child can keep the terminal."""
    process = stage.start()
    stopped = stage.stop()
    stage.reactor.advance(STOP_DEADLINE_S)
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]
    process.end(number=signal.SIGKILL)
    assert stopped.called


def test_an_impatient_operator_kills_what_is_being_stopped_and_nothing_else(stage: Stage) -> None:
    """`kill` does not touch a child that nobody asked to stop."""
    web, valkey = stage.start("web"), stage.start("valkey")
    stopped = stage.stop("web")
    stage.supervisor.kill()
    assert (web.signals, valkey.signals) == ([signal.SIGTERM, signal.SIGKILL], [])
    web.end(number=signal.SIGKILL)
    assert stopped.called
    assert stage.supervisor.names == ("valkey",)


def test_a_child_that_waits_for_its_restart_is_stopped_too(stage: Stage) -> None:
    """A pending restart is cancelled."""
    stage.start().end(status=1)
    assert stage.stop().called
    stage.reactor.advance(RESTART_DELAY_MAX_S)
    assert stage.runs == 1


def test_a_child_that_ends_while_it_is_signalled_is_no_error(stage: Stage) -> None:
    """The race between the signal and the end is nobody's fault."""
    process = stage.start()
    process.has_ended = True
    stopped = stage.stop()
    process.end()
    assert stopped.called


def test_a_name_is_taken_once(stage: Stage) -> None:
    """Two children of one name would be one in the log."""
    stage.start()
    with pytest.raises(ValueError, match="web runs already"):
        stage.start()


def test_descriptors_are_inherited_from_three_on(stage: Stage) -> None:
    """Behind them stands the one by which a child steps down, when it can."""
    assert stage.start("plain", descriptors=(8,)).descriptors == {0: "w", 1: "r", 2: "r", 3: 8}
    assert stage.start("leaving", descriptors=(8, 6), can_step_down=True).descriptors[5] == "r"


def test_who_steps_down_has_a_successor_at_once(stage: Stage) -> None:
    """Both run until the first one has ended, which is no crash."""
    old = stage.start(can_step_down=True)
    old.protocol.childDataReceived(3, b"x")
    assert stage.runs == 2
    old.end()
    stage.reactor.advance(STOP_DEADLINE_S * 2)
    assert (stage.runs, old.signals) == (2, [])
    assert stage.said == [("web", b"ends; starting its successor")]
    stage.reactor.spawned[-1].end(number=signal.SIGKILL)
    stage.reactor.advance(RESTART_DELAY_MIN_S)
    assert stage.runs == 3


def test_who_has_stepped_down_and_stays_is_killed(stage: Stage) -> None:
    """It has as much time as when it is stopped; its successor is left alone."""
    old = stage.start(can_step_down=True, stop_within_s=3.0)
    old.protocol.childDataReceived(3, b"x")
    stage.reactor.advance(3)
    assert (old.signals, stage.reactor.spawned[-1].signals) == ([signal.SIGKILL], [])


def test_stopping_stops_predecessors_too(stage: Stage) -> None:
    """It waits for both, and a word from one that is being stopped starts nothing."""
    old = stage.start(can_step_down=True)
    old.protocol.childDataReceived(3, b"x")
    new = stage.reactor.spawned[-1]
    stopped = stage.stop()
    new.protocol.childDataReceived(3, b"x")
    assert (old.signals, new.signals, stage.runs) == ([signal.SIGTERM], [signal.SIGTERM], 2)
    new.end()
    assert not stopped.called
    old.end()
    assert stopped.called


def test_output_of_a_child_that_can_step_down_is_no_word_to_do_so(stage: Stage) -> None:
    """Standard output and error are passed on as ever."""
    process = stage.start(can_step_down=True)
    process.protocol.childDataReceived(1, b"hello\n")
    assert (stage.said, stage.runs) == ([("web", b"hello")], 1)


def test_a_child_may_have_a_deadline_of_its_own(stage: Stage) -> None:
    """Who drains connections needs longer."""
    process = stage.start(stop_within_s=30.0)
    stage.stop()
    stage.reactor.advance(29)
    assert process.signals == [signal.SIGTERM]
    stage.reactor.advance(1)
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]
