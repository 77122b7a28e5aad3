"""Parity: of every member of the zoo, connection test, health check and traffic say the same."""

import asyncio
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from healthchecks.check import Job, check
from proxyworker.snapshot import Deadlines, HostEntry, PassiveHealth, Upstream
from tests.healthchecks.examples import request
from tests.proxyworker.entries import tls_of
from tests.proxyworker.worker import Worker
from upstream_tls.tls.context import build_context
from upstream_tls.tls.probe import ProbeTarget, probe
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.zoo.members import members
from upstream_tls.zoo.running import Running, run_zoo

HOST_FIELD = "zoo.internal"
ANY_STATUS = ((200, 599),)
# Of a member whose outcome is known only when the time is up; the others must not be hurried by a busy machine.
SHORT_S, LONG_S = 1.0, 20.0
AT_ONCE = 16


class Case(NamedTuple):
    """One member under one TLS version."""

    running: Running
    version: str

    @property
    def name(self) -> str:
        return f"{self.running.member.name}.{self.version[-1]}.test"

    @property
    def spec(self) -> UpstreamTLSSpec:
        return dataclasses.replace(self.running.spec, min_version=self.version, max_version=self.version)

    @property
    def timeout_s(self) -> float:
        return SHORT_S if self.running.member.takes_all_time else LONG_S


class Verdicts(NamedTuple):
    """The codes, empty for an upstream that is accepted."""

    by_test: str
    by_check: str
    by_traffic: str


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, Verdicts]]:
    """Everybody's, the members being asked side by side."""
    with run_zoo() as zoo, ThreadPoolExecutor(AT_ONCE) as pool:
        cases = [Case(running, version) for running in zoo.values() for version in running.member.tls_versions]
        tested = list(pool.map(by_test, cases))
        checked = asyncio.run(by_checks(cases, pool))
        carried = by_traffic(cases, pool, tmp_path_factory.mktemp("worker"))
        yield {case: Verdicts(*codes) for case, *codes in zip(cases, tested, checked, carried, strict=True)}


def by_test(case: Case) -> str:
    """What Test Connection says."""
    target = ProbeTarget(address=case.running.address, port=case.running.port, host_field=HOST_FIELD)
    result = probe(case.spec, target, timeout_s=case.timeout_s)
    assert result.success == (result.error is None)
    return result.error.code if result.error else ""


async def by_checks(cases: list[Case], lookups: ThreadPoolExecutor) -> list[str]:
    """What health checks say to which every status is good."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def checked(case: Case) -> str:
        job = Job(
            address=case.running.address,
            port=case.running.port,
            timeout_s=case.timeout_s,
            request=request(host_field=HOST_FIELD, statuses=ANY_STATUS),
            context=build_context(case.spec),
        )
        async with at_once:
            outcome = await check(job, lookups=lookups)
        assert outcome is not None
        assert outcome.is_ok == (not outcome.code)
        return outcome.code

    return await asyncio.gather(*map(checked, cases))


def by_traffic(cases: list[Case], pool: ThreadPoolExecutor, directory: Path) -> list[str]:
    """What a worker says, of one proxied request for each, where it counts the failures of upstreams."""
    keys = {case.name: case.spec.client_key_pem.decode() for case in cases}
    with Worker(directory, *map(entry, cases), keys=keys) as worker:
        statuses = dict(zip(cases, pool.map(lambda case: status_of(worker, case.name), cases), strict=True))

        failed = failures_of(worker)
        assert "Traceback" not in worker.log
    for case, status in statuses.items():
        # What the upstream itself said is passed on, also when it is a refusal.
        is_own_answer = status in (502, 504)
        assert (case.name in failed) or not is_own_answer, (case.name, status)
    return [failed.get(case.name, "") for case in cases]


def status_of(worker: Worker, host: str) -> int:
    """Of the final response; a client of HTTP/1.0 sees no others (RFC 9110 section 15.2)."""
    with worker.connect() as connection, connection.makefile("rb") as answer:
        connection.settimeout(LONG_S)
        connection.sendall(b"GET / HTTP/1.0\r\nHost: " + host.encode() + b"\r\n\r\n")
        return int(answer.readline().split()[1])


def failures_of(worker: Worker) -> dict[str, str]:
    """The code of each host's one failure."""
    families = text_string_to_metric_families(worker.ask("/metrics").body.decode())
    [samples] = [family.samples for family in families if family.name == "aegis_upstream_failures"]
    assert {sample.value for sample in samples} == {1.0}
    return {sample.labels["host"]: sample.labels["code"] for sample in samples}


def entry(case: Case) -> HostEntry:
    """The host whose upstream the member is."""
    return HostEntry(
        host_id=case.name,
        name=case.name,
        domains=(case.name,),
        upstreams=(
            Upstream(upstream_id=case.name, scheme="https", address=case.running.address, port=case.running.port),
        ),
        upstream_tls=tls_of(case.spec),
        deadlines=Deadlines(connect_s=case.timeout_s, tls_s=case.timeout_s, response_head_s=case.timeout_s),
        passive_health=PassiveHealth(max_failures=0),
    )


def test_all_three_agree_on_every_member(verdicts: dict[Case, Verdicts]) -> None:
    """Accepted or refused, and on the code, which is the one that the member is there for."""
    print(f"\n{'member':36}{'TLS':8}{'expected':34}{'test':34}{'check':34}traffic")  # noqa: T201 (the table is the point)
    wrong = []
    for case, found in verdicts.items():
        expected = case.running.member.code
        row = [code or "accepted" for code in (expected, *found)]
        print(f"{case.running.member.name:36}{case.version:8}" + "".join(f"{code:34}" for code in row))  # noqa: T201
        if set(found) != {expected}:
            wrong.append((case.running.member.name, case.version, expected, found))
    assert wrong == []


def test_no_member_is_left_out(verdicts: dict[Case, Verdicts]) -> None:
    """Under each TLS version that it is for."""
    assert {case.running.member for case in verdicts} == set(members())
    assert len(verdicts) == sum(len(member.tls_versions) for member in members()) > 64
