"""Every member of the zoo, tested as an operator would: the table of what a connection test must say."""

import concurrent.futures
import dataclasses

from upstream_tls.tls.probe import ProbeResult, ProbeTarget, probe
from upstream_tls.tls.remedies import REMEDIES
from upstream_tls.tls.spec import TLS_VERSIONS
from upstream_tls.zoo import Member, Running, members, run_zoo

# Codes that no peer causes: our own configuration, or a network that loopback does not have.
_NOT_BY_A_PEER = {"client_certificate_not_after", "unreachable", "connect_failed"}


def test_each_member_is_diagnosed_as_what_it_is() -> None:
    """Code, message and confidence are the expected ones, under TLS 1.2 and 1.3 where both apply."""
    with run_zoo() as zoo, concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        futures = [
            (running.member, version, pool.submit(_test, running, version))
            for running in zoo.values()
            for version in running.member.tls_versions
        ]
        outcomes = [(member, version, future.result()) for member, version, future in futures]
    print(f"\n{'member':34}{'TLS':9}{'expected':34}{'got':34}message")  # noqa: T201 (the table is the point)
    for member, version, result in outcomes:
        got = result.error.code if result.error else "success"
        message = result.error.message if result.error else f"HTTP {result.http_status}"
        print(f"{member.name:34}{version:9}{member.code or 'success':34}{got:34}{message}")  # noqa: T201
    wrong = [
        (member.name, version, result.error) for member, version, result in outcomes if not _is_right(member, result)
    ]
    assert not wrong


def test_zoo_has_a_member_for_every_code_that_a_peer_can_cause() -> None:
    """At least 24 members; no code of the contract is left out."""
    everybody = members()
    assert len(everybody) >= 24
    assert len({member.name for member in everybody}) == len(everybody)
    assert {member.code for member in everybody} - {""} == set(REMEDIES) - _NOT_BY_A_PEER


def test_failures_say_what_to_do() -> None:
    """Every failing member gets a cause and a fix without a hole in them, and evidence."""
    with run_zoo([member.name for member in members() if member.code and not member.takes_all_time]) as zoo:
        for running in zoo.values():
            error = _test(running, running.member.tls_versions[-1]).error
            assert error is not None
            for text in (error.cause, error.fix):
                assert len(text) > 20
                assert not {"(unknown)", "(none)", "None", "{", "}"} & set(text.split()), running.member.name
            assert error.evidence["stage"] in ("dns", "tcp", "tls", "http")


def test_settings_of_a_member_are_complete_as_they_stand() -> None:
    """Also without a forced TLS version the outcome is the expected one, so that a host in the demo shows it."""
    with run_zoo([member.name for member in members() if len(member.tls_versions) < len(TLS_VERSIONS)]) as zoo:
        for running in zoo.values():
            result = probe(running.spec, _target(running))
            assert _is_right(running.member, result)


def _test(running: Running, version: str) -> ProbeResult:
    spec = dataclasses.replace(running.spec, min_version=version, max_version=version)
    return probe(spec, _target(running), timeout_s=1.0 if running.member.takes_all_time else 20.0)


def _target(running: Running) -> ProbeTarget:
    return ProbeTarget(address=running.address, port=running.port, host_field="zoo.internal")


def _is_right(member: Member, result: ProbeResult) -> bool:
    if result.error is None:
        return not member.code and result.success and result.verified
    is_code = result.error.code == member.code and result.error.confidence == member.confidence
    return is_code and not result.success and member.is_message(result.error.message)
