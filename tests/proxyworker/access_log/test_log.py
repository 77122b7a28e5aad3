"""The way of a record to its sink."""

import errno
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxyworker.access_log import log as log_module
from proxyworker.access_log.files import Directory, StandardOutput
from proxyworker.access_log.log import SLICE_RECORDS, AccessLog, AccessLogSettings
from tests.proxyworker.access_log.records import record, request
from tests.support.polling import eventually

PATIENCE_S = 15


class FakeSink:
    """Keeps what it is given, or fails, or waits until it may go on."""

    max_piece_bytes = 2000

    def __init__(self) -> None:
        self.pieces: list[tuple[str, bytes]] = []
        self.problem: OSError | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_closed = False

    def write(self, host: str, piece: bytes) -> None:
        assert self.may_go_on.wait(PATIENCE_S)
        if self.problem is not None:
            raise self.problem
        self.pieces.append((host, piece))

    def close(self) -> None:
        self.is_closed = True

    @property
    def ids(self) -> list[int]:
        """The numbers of the requests whose lines arrived."""
        return [int(json.loads(line)["request_id"]) for _, piece in self.pieces for line in piece.splitlines()]


class Bench:
    """An access log whose turns the test takes."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.turns: list[Callable[[], None]] = []
        self.log = AccessLog(self.sink, "json", clock=lambda: 5.0, unix_time=lambda: 1000.0, soon=self.turns.append)

    def add(self, *numbers: int, host: str = "one") -> None:
        for number in numbers:
            self.log.add(record(request(), host=host, request_id=b"%d" % number))

    def tick(self) -> None:
        self.log.tick()
        while self.turns:
            self.turns.pop(0)()

    def written(self, count: int) -> FakeSink:
        """When the thread has written so many lines; what waits for it is handed over meanwhile."""
        eventually(lambda: (self.tick(), len(self.sink.ids) >= count)[1], within_s=PATIENCE_S)
        return self.sink


@pytest.fixture
def bench() -> Bench:
    """Nothing added yet."""
    return Bench()


def test_lines_are_written_after_the_tick_in_their_order(bench: Bench) -> None:
    """By host, whole lines only, in pieces that the sink can take."""
    numbers = range(20)
    bench.add(*numbers)
    bench.add(100, host="two")
    assert bench.sink.pieces == []
    sink = bench.written(21)
    assert sink.ids == [*numbers, 100]
    assert {host for host, _ in sink.pieces} == {"one", "two"}
    assert all(piece.endswith(b"\n") and len(piece) <= 2000 for _, piece in sink.pieces)
    assert bench.log.dropped_count == 0
    bench.log.close(PATIENCE_S)


def test_lines_are_made_in_slices(bench: Bench) -> None:
    """Others have their turn after SLICE_RECORDS; what is added meanwhile is not lost, nor is a second tick."""
    bench.add(*range(SLICE_RECORDS + 1))
    bench.log.tick()
    assert len(bench.turns) == 1
    bench.add(1000)
    assert sorted(bench.written(SLICE_RECORDS + 2).ids) == [*range(SLICE_RECORDS + 1), 1000]
    bench.log.close(PATIENCE_S)


def test_a_sink_that_hangs_costs_lines_and_no_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limits is dropped and counted, and nobody waits."""
    monkeypatch.setattr(log_module, "MAX_RECORDS", 10)
    monkeypatch.setattr(log_module, "MAX_WAITING_BYTES", 1500)
    bench.sink.may_go_on.clear()
    bench.add(0)
    bench.tick()  # the thread hangs in this one
    bench.add(*range(1, 16))
    assert bench.log.dropped_count == 5
    bench.tick()
    bench.add(100, 101)
    bench.tick()
    assert bench.log.dropped_count == 7
    bench.sink.may_go_on.set()
    assert bench.written(11).ids == list(range(11))
    bench.add(200)
    assert bench.written(12).ids[-1] == 200
    bench.log.close(PATIENCE_S)


def test_a_sink_that_fails_is_told_of_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Each lost line is counted; when it works again, that is told as well."""
    with caplog.at_level(logging.INFO, "aegis.proxy"):
        bench.sink.problem = OSError(errno.ENOSPC, "No space left on device")
        for number in range(3):
            bench.add(number, number)
            lost = 2 * (number + 1)
            eventually(lambda lost=lost: (bench.tick(), bench.log.dropped_count == lost)[1], within_s=PATIENCE_S)
        bench.sink.problem = None
        bench.add(7)
        assert bench.written(1).ids == [7]
        bench.log.close(PATIENCE_S)
    assert [each.getMessage() for each in caplog.records] == [
        "access log cannot be written, its lines are lost: No space left on device",
        "access log is written again",
    ]


def test_close_writes_all_that_is_left(bench: Bench) -> None:
    """Lines that no tick has seen too; the sink is closed then."""
    bench.sink.may_go_on.clear()
    bench.add(1)
    bench.tick()
    bench.add(2)
    bench.tick()
    bench.add(*range(3, 3 + SLICE_RECORDS))
    bench.sink.may_go_on.set()
    bench.log.close(PATIENCE_S)
    assert bench.sink.ids == list(range(1, 3 + SLICE_RECORDS))
    assert bench.sink.is_closed


def test_close_does_not_wait_for_ever(bench: Bench) -> None:
    """A disk that hangs does not keep the worker from ending."""
    bench.sink.may_go_on.clear()
    bench.add(1)
    bench.log.close(0.01)
    assert bench.sink.pieces == []
    bench.sink.may_go_on.set()
    eventually(lambda: bench.sink.is_closed, within_s=PATIENCE_S)


def test_settings_choose_the_sink(tmp_path: Path) -> None:
    """None when it is off."""
    assert AccessLogSettings().sink() is None
    assert isinstance(AccessLogSettings(destination="stdout").sink(), StandardOutput)
    assert isinstance(AccessLogSettings(destination=tmp_path).sink(), Directory)


def test_a_record_without_a_line_ends_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and told of once; the others are written."""
    for number in (1, 2):
        bench.log.add(record(object(), host="one"))  # type: ignore[arg-type]
        bench.add(number)
    assert bench.written(2).ids == [1, 2]
    assert bench.log.dropped_count == 2
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    bench.log.close(PATIENCE_S)
