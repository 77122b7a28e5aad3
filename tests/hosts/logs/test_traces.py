"""From a request's id to its line, its upstreams, and what failed there."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from hosts.logs.traces import trace_of
from hosts.models import ProxyWorker, UpstreamFailure
from tests.hosts.examples import make_host
from tests.hosts.logs.examples import NOW, answered, attempted, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(tmp_path: Path, settings: Any) -> Path:
    settings.AEGIS_ACCESS_LOG = tmp_path / "access-log"
    return tmp_path / "access-log"


def test_all_attempts_of_one_request(directory: Path) -> None:
    """Two failed and a third answered: each is there with its reason, whatever the host's other requests did."""
    write(directory, answered(9), answered(5, request_id="a", attempts=3, upstream_failure="expired"), answered(3))
    write(
        directory,
        attempted(8, request_id="b"),
        attempted(5.2, request_id="a"),
        attempted(5.1, request_id="a", code="expired", reason="is over", upstream="https://10.0.0.8:9443"),
        kind="errors",
    )
    trace = trace_of("a")
    assert [answer.status for answer in trace.answers] == [200]
    assert [(failure.code, failure.reason) for failure in trace.failures] == [
        ("expired", "is over"),
        ("unknown_authority", "unable to get local issuer certificate"),
    ]
    assert (trace.cursor, trace.searched_to) == ("", None)


def test_an_id_that_a_proxy_in_front_used_again(directory: Path) -> None:
    """Both requests are shown; one of an hour before is not looked for."""
    write(directory, *(answered(seconds, request_id="a", target=f"/{seconds}") for seconds in (3700, 40, 5)))
    assert [answer.target for answer in trace_of("a").answers] == ["/5", "/40"]


def test_what_the_worker_reported_is_not_told_twice(directory: Path) -> None:
    """The log says the same; without its line, the report is there, and without both the code of the answer."""
    host = make_host(name="app.test")
    upstream = host.upstreams.get()
    worker = ProxyWorker.objects.create(
        worker_id="a", generation=1, accepted=1, rejected={}, version="1", pid=1, last_seen_at=timezone.now()
    )
    UpstreamFailure.objects.create(
        upstream=upstream, worker=worker, phase="tls", code="expired", reason="over", request_id="a", at=NOW, count=1
    )
    write(directory, answered(5, request_id="a", upstream=str(upstream), upstream_failure="expired", status=502))
    assert [failure.reason for failure in trace_of("a").failures] == ["over"]
    write(directory, attempted(5, request_id="a", code="expired", upstream=str(upstream)), kind="errors")
    assert [failure.reason for failure in trace_of("a").failures] == ["unable to get local issuer certificate"]
    write(directory, answered(4, request_id="b", upstream_failure="timeout", status=504))
    assert [(failure.code, failure.reason) for failure in trace_of("b").failures] == [("timeout", "")]
    assert not trace_of("c").is_known
