"""runner: checks side by side on one loop, their results in batches."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from healthchecks import runner as runner_module
from healthchecks.check import Job, Outcome
from healthchecks.recording import Result
from healthchecks.runner import Runner, Work, default_capacity
from tests.healthchecks.examples import a_claim, job, outcome
from tests.support.plain_upstream import answering
from tests.support.polling import eventually

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Written:
    """Keeps results; `fail_once` loses a batch."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.threads: set[str] = set()
        self.fail_once = False

    def __call__(self, results: Sequence[Result]) -> None:
        self.threads.add(threading.current_thread().name)
        if self.fail_once:
            self.fail_once = False
            raise RuntimeError("the database is away")
        self.results.extend(results)


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def start(written: Written) -> Iterator[Callable[..., Runner]]:
    """Starts runners, and stops them at the end."""
    runners: list[Runner] = []

    def start(**options: int) -> Runner:
        runners.append(Runner(written, **options))
        return runners[-1]

    yield start
    for runner in runners:
        runner.stop()


def work(port: int, *, delay_s: float = 0.0, timeout_s: float = 5.0) -> Work:
    return Work(delay_s=delay_s, claim=a_claim(), job=job(port, timeout_s=timeout_s))


def test_results_come_with_their_claims(start: Callable[..., Runner], written: Written) -> None:
    """Written by one thread, which is not the loop's."""
    with answering(OK) as port:
        wanted = [work(port) for _ in range(20)]
        start().submit(wanted)
        eventually(lambda: len(written.results) == 20, within_s=20)
    assert {result.claim.claim_id for result in written.results} == {one.claim.claim_id for one in wanted}
    assert all(result.outcome is not None and result.outcome.is_ok for result in written.results)
    assert len(written.threads) == 1
    assert not written.threads & {"health-checks", threading.main_thread().name}


def test_what_hangs_holds_up_nobody_and_takes_its_place(start: Callable[..., Runner], written: Written) -> None:
    """Whoever submits sees how many are free, and gets the others' results meanwhile."""
    with answering(None) as silent, answering(OK) as port:
        runner = start(capacity=200)
        runner.submit([work(silent, timeout_s=30.0) for _ in range(100)])
        runner.submit([work(port)])
        eventually(lambda: len(written.results) == 1, within_s=20)
        assert runner.free == 100


def test_a_check_outlasts_the_batches_of_others(
    start: Callable[..., Runner], written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the result of one that ended after a batch was handed over was added to that batch, and so lost."""

    async def check(job: Job, **_: object) -> Outcome:
        while job.port == 1 and not written.results:
            await asyncio.sleep(0.01)
        return outcome()

    monkeypatch.setattr(runner_module, "check", check)
    start().submit([work(1), work(2)])
    eventually(lambda: len(written.results) == 2, within_s=20)


def test_what_is_under_way_comes_before_what_is_begun(
    start: Callable[..., Runner], written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once all that was due was begun at once, and a backlog ended after its deadlines."""
    under_way: list[int] = []
    most = 0

    async def check(job: Job, **_: object) -> Outcome:
        nonlocal most
        under_way.append(job.port)
        most = max(most, len(under_way))
        for _turn in range(3):
            await asyncio.sleep(0)
        under_way.pop()
        return outcome()

    monkeypatch.setattr(runner_module, "check", check)
    start().submit([work(1) for _ in range(200)])
    eventually(lambda: len(written.results) == 200, within_s=20)
    assert most <= 4


def test_only_so_many_wait_for_their_turn(start: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker cannot begin soon is left to others, or to its next sweep."""
    monkeypatch.setattr(runner_module, "MAX_WAITING", 3)
    with answering(None) as silent:
        runner = start(capacity=10)
        runner.submit([work(silent, delay_s=60.0), work(silent, delay_s=60.0)])
        assert runner.free == 1
        runner.submit([work(silent, timeout_s=30.0)])
        eventually(lambda: runner.free == 1, within_s=20)


def test_a_check_that_breaks_costs_no_other(
    start: Callable[..., Runner],
    written: Written,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and its claim expires."""

    async def check(job: Job, **_: object) -> Outcome:
        if job.port == 1:
            raise RuntimeError("a mistake of ours")
        return outcome()

    monkeypatch.setattr(runner_module, "check", check)
    runner = start()
    runner.submit([work(1), work(2)])
    eventually(lambda: len(written.results) == 1, within_s=20)
    eventually(lambda: "a mistake of ours" in caplog.text, within_s=20)
    assert runner.is_alive


def test_a_batch_that_cannot_be_written_is_logged(
    start: Callable[..., Runner], written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one is written."""
    written.fail_once = True
    with answering(OK) as port:
        runner = start()
        runner.submit([work(port)])
        eventually(lambda: "the results of 1 checks were not written down" in caplog.text, within_s=20)
        runner.submit([work(port)])
        eventually(lambda: len(written.results) == 1, within_s=20)


def test_a_runner_that_stops_gives_up_what_is_under_way(written: Written) -> None:
    """Without waiting for it."""
    with answering(None) as silent:
        runner = Runner(written)
        runner.submit([work(silent, timeout_s=60.0), work(silent, delay_s=60.0)])
        runner.stop()
    assert not runner.is_alive
    assert written.results == []


def test_capacity_leaves_descriptors_for_others() -> None:
    """At least for something."""
    assert 0 < default_capacity() <= 2000
