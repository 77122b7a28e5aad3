"""Questions about what is published."""

import datetime

import pytest
from django.utils import timezone

from hosts.models import CompiledHost, Host, ProxyWorker
from hosts.publish import compile_hosts
from hosts.selectors import (
    LOST_AFTER,
    Verdict,
    WorkerHealth,
    domains_of_other_hosts,
    hosts_to_compile,
    latest_generation,
    published_state,
    refusals,
    worker_health,
)
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

NOW = timezone.now()
SECOND = datetime.timedelta(seconds=1)


def worker(name: str, generation: int, *, rejected: dict[str, str] | None = None, age: float = 0) -> ProxyWorker:
    return ProxyWorker.objects.create(
        worker_id=name, generation=generation, rejected=rejected or {}, last_seen_at=NOW - age * SECOND
    )


def test_the_latest_generation_is_that_of_the_rows() -> None:
    """0 before anything is published."""
    assert latest_generation() == 0
    compile_hosts([make_host("a").pk, make_host("b").pk])
    assert latest_generation() == 2


def test_what_is_stale_is_found() -> None:
    """New, changed, deleted behind our back, compiled by another schema, and with a problem; nothing else."""
    hosts = {name: make_host(name) for name in ("fresh", "changed", "schema", "problem", "disabled")}
    gone = make_host("gone")
    gone_id = gone.pk
    hosts["disabled"].enabled = False
    hosts["disabled"].save()
    compile_hosts([gone_id, *(host.pk for host in hosts.values())])
    assert hosts_to_compile() == []

    hosts["changed"].save()
    CompiledHost.objects.filter(name="schema").update(schema_version=0)
    CompiledHost.objects.filter(name="problem").update(problem="no key")
    Host.objects.filter(pk=gone_id).delete()
    new = make_host("new")
    stale = {new.pk, gone_id, *(hosts[name].pk for name in ("changed", "schema", "problem"))}
    assert set(hosts_to_compile()) == stale
    compile_hosts(hosts_to_compile())
    assert hosts_to_compile() == []


def test_domains_of_others_are_found_with_their_host() -> None:
    """A host's own domains are no conflict."""
    first, second = make_host("first"), make_host("second")
    names = ["first.example.com", "second.example.com", "free.example.com"]
    (conflict,) = domains_of_other_hosts(names, host_id=first.pk)
    assert conflict.host == second


def test_a_workers_health_is_its_age_and_its_generation() -> None:
    """A worker that has not reported for half a minute is lost, whatever it served."""
    assert worker_health(worker("a", 5), latest=5, now=NOW) is WorkerHealth.CURRENT
    assert worker_health(worker("b", 4), latest=5, now=NOW) is WorkerHealth.BEHIND
    lost = worker("c", 5, age=LOST_AFTER.total_seconds() + 1)
    assert worker_health(lost, latest=5, now=NOW) is WorkerHealth.LOST


def test_each_worker_has_its_verdict_on_a_host() -> None:
    """Accepted, refused with a reason, still loading, lost."""
    host = make_host()
    assert published_state(host.pk, now=NOW).compiled is None
    compile_hosts([make_host("other").pk])
    compile_hosts([host.pk])
    worker("a", 2)
    worker("b", 2, rejected={str(host.pk): "bad key"})
    worker("c", 1)
    worker("d", 2, age=100)
    state = published_state(host.pk, now=NOW)
    assert state.compiled is not None
    assert [(item.verdict, item.reason) for item in state.verdicts] == [
        (Verdict.ACCEPTED, ""),
        (Verdict.REFUSED, "bad key"),
        (Verdict.WAITING, ""),
        (Verdict.LOST, ""),
    ]


def test_refusals_of_lost_workers_do_not_count() -> None:
    """Only what a living worker says is shown as refused."""
    worker("a", 1, rejected={"x": "reason"})
    worker("b", 1, rejected={"y": "reason"}, age=100)
    assert refusals(now=NOW) == {"x": "reason"}
