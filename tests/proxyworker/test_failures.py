"""The last failure of each upstream and code, until the control plane has it."""

import pytest

from proxyworker.errors import Phase, UpstreamError
from proxyworker.failures import LastFailures
from proxyworker.snapshot import MAX_REPORTED_FAILURES, UpstreamFailure

EXPIRED = UpstreamError(phase=Phase.TLS, code="expired", reason="x509: certificate has expired")
REFUSED = UpstreamError(phase=Phase.CONNECT, code="connection_refused", reason="dial tcp")


class Time:
    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def failures() -> LastFailures:
    """None yet; each is a second later than the one before."""
    return LastFailures(Time())


def test_the_last_of_each_upstream_and_code_is_reported(failures: LastFailures) -> None:
    """With the numbers since the start, of the upstream and of the code, oldest first."""
    failures.add("h", "u1", EXPIRED, b"id-1")
    failures.add("h", "u2", EXPIRED, b"id-2")
    failures.add("h", "u1", REFUSED, b"id-3")
    first, second, third = failures.to_report()
    assert (first.upstream_id, first.code, first.count, first.code_count) == ("u1", "expired", 2, 1)
    assert (second.upstream_id, second.at, second.count) == ("u2", 1002.0, 1)
    assert third == UpstreamFailure(
        host_id="h",
        upstream_id="u1",
        phase="connect",
        code="connection_refused",
        reason="dial tcp",
        request_id="id-3",
        at=1003.0,
        count=2,
        code_count=1,
    )


def test_what_was_reported_is_not_new(failures: LastFailures) -> None:
    """Until it fails again; counting goes on."""
    failures.add("h", "u", EXPIRED, b"id-1")
    failures.reported(failures.to_report())
    assert failures.to_report() == ()
    failures.add("h", "u", EXPIRED, b"id-2")
    [failure] = failures.to_report()
    assert (failure.count, failure.request_id) == (2, "id-2")


def test_a_report_that_got_lost_is_made_again(failures: LastFailures) -> None:
    """Nothing is forgotten before the feed has it."""
    failures.add("h", "u", EXPIRED, b"id")
    assert failures.to_report() == failures.to_report() != ()


def test_what_fails_while_a_report_is_on_its_way_is_new(failures: LastFailures) -> None:
    """The report had only the one before."""
    failures.add("h", "u", EXPIRED, b"id-1")
    on_its_way = failures.to_report()
    failures.add("h", "u", EXPIRED, b"id-2")
    failures.reported(on_its_way)
    assert [failure.request_id for failure in failures.to_report()] == ["id-2"]


def test_the_latest_are_kept(failures: LastFailures) -> None:
    """At most MAX_REPORTED_FAILURES, however many upstreams are broken."""
    for number in range(MAX_REPORTED_FAILURES + 5):
        failures.add("h", f"u{number}", EXPIRED, b"id")
    failures.add("h", "u5", EXPIRED, b"id")
    reported = failures.to_report()
    assert len(reported) == MAX_REPORTED_FAILURES
    assert [reported[0].upstream_id, reported[-1].upstream_id] == ["u6", "u5"]
