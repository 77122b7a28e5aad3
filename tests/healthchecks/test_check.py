"""check: one check from beginning to verdict, against real sockets."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from healthchecks.check import Job, Outcome, check
from tests.healthchecks.examples import job, request
from tests.support.plain_upstream import answering
from tests.support.ports import free_port
from upstream_tls.tls.diagnosis import diagnose_configuration

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


@pytest.fixture
def lookups() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def run(*jobs: Job, lookups: ThreadPoolExecutor) -> list[Outcome]:
    """All at once; each has a verdict."""

    async def main() -> list[Outcome | None]:
        return await asyncio.gather(*(check(job, lookups=lookups) for job in jobs))

    found = asyncio.run(main())
    outcomes = [outcome for outcome in found if outcome is not None]
    assert len(outcomes) == len(jobs)
    return outcomes


def test_an_answer_without_tls(lookups: ThreadPoolExecutor) -> None:
    """Status, duration, no code."""
    with answering(OK) as port:
        [outcome] = run(job(port), lookups=lookups)
    assert (outcome.is_ok, outcome.status, outcome.code, outcome.message) == (True, 200, "", "")
    assert outcome.duration_ms < 5000


@pytest.mark.parametrize(
    ("content", "changes", "code"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", {}, "unexpected_status"),
        (OK, {"statuses": ((204, 204),)}, "unexpected_status"),
        (OK, {"body_contains": b"hell"}, ""),
        (OK, {"body_contains": b"heaven"}, "body_mismatch"),
        (CHUNKED, {"body_contains": b"hello"}, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, {"body_contains": b"hello"}, ""),
        (b"SSH-2.0-OpenSSH_9.2\r\n", {}, "malformed_response"),
        (b"", {}, "connection_closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", {}, "connection_closed"),
    ],
)
def test_what_an_answer_must_have(
    lookups: ThreadPoolExecutor, content: bytes, changes: dict[str, object], code: str
) -> None:
    """A status of the expected ones, the text in its body, and HTTP at all."""
    with answering(content) as port:
        [outcome] = run(job(port, request=request(**changes)), lookups=lookups)
    assert (outcome.code, outcome.is_ok) == (code, not code)


def test_a_head_request_waits_for_no_body(lookups: ThreadPoolExecutor) -> None:
    """Whatever length the answer announces."""
    with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\n") as port:
        [outcome] = run(job(port, request=request(method="HEAD", statuses=((400, 400),))), lookups=lookups)
    assert (outcome.is_ok, outcome.status) == (True, 400)


def test_connecting_is_all_that_a_tcp_check_does(lookups: ThreadPoolExecutor) -> None:
    """A listener that says nothing is well; nobody there is refused."""
    with answering(None) as port:
        well, refused = run(job(port, request=None), job(free_port(), request=None), lookups=lookups)
    assert (well.is_ok, well.status) == (True, None)
    assert (refused.is_ok, refused.code) == (False, "connection_refused")


def test_a_hundred_upstreams_that_hang_delay_no_other(lookups: ThreadPoolExecutor) -> None:
    """They wait for their own deadline, side by side."""
    with answering(None) as silent, answering(OK) as port:
        hanging = [job(silent, timeout_s=1.0) for _ in range(100)]
        *slow, quick = run(*hanging, job(port), lookups=lookups)
    assert quick.is_ok
    assert quick.duration_ms < 1000
    assert {(outcome.is_ok, outcome.code) for outcome in slow} == {(False, "timeout")}


def test_a_name_that_does_not_exist(lookups: ThreadPoolExecutor) -> None:
    """Is a failure of the look-up; a name that no resolver can take too."""
    jobs = (job(80, address="orders.invalid"), job(80, address="x" * 70 + ".example"))
    assert [outcome.code for outcome in run(*jobs, lookups=lookups)] == ["dns_failure"] * 2


def test_a_configuration_that_cannot_be_used_is_the_failure(lookups: ThreadPoolExecutor) -> None:
    """Nothing is sent."""
    problem = diagnose_configuration("key_mismatch", "The key is another one's.", "client_key")
    [outcome] = run(job(9, problem=problem), lookups=lookups)
    assert (outcome.is_ok, outcome.code, outcome.message) == (False, "key_mismatch", "The key is another one's.")


def test_a_process_that_was_held_up_blames_nobody(lookups: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that ends long after its deadline says nothing about the upstream."""

    async def main(port: int) -> Outcome | None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(check(job(port, timeout_s=0.2), lookups=lookups))
        await asyncio.sleep(0)
        late = loop.time() + 60
        monkeypatch.setattr(loop, "time", lambda: late)
        return await task

    with answering(None) as port:
        assert asyncio.run(main(port)) is None
