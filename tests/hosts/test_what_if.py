"""What a change would do to upstreams that are really there."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hosts import connection_tests, what_if
from hosts.connection_tests import NotRun, latest_tests
from hosts.models import ConnectionTest, Host
from hosts.services import install_issued_certificate
from hosts.specs import UpstreamSpec
from hosts.tasks import run_connection_tests
from hosts.what_if import Verdict, WhatIf, judge
from hosts.what_if_changes import Change, Kind, planned
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import CA, make_host, mtls
from tests.hosts.zoo_hosts import host_before
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.zoo.running import Running, run_zoo

# Commits for real, because the work is queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

TLS_1_3 = UpstreamTLSChanges(min_version="TLSv1.3")


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Running]]:
    with run_zoo(["good", "only-tls-12", "unknown-authority"]) as running:
        yield running


def ask(change: Change) -> WhatIf:
    return what_if.what_if(change=change, user=None)


def verdicts(answer: WhatIf) -> dict[str, str]:
    return {outcome.host.name: str(outcome.verdict) for outcome in answer.hosts}


def stored() -> list[dict[str, Any]]:
    rows = UpstreamTLSConfiguration.objects.order_by("pk").values()
    sealed = [{**row, "client_key": row["client_key"] and row["client_key"].blob} for row in rows]
    return [*Host.objects.order_by("pk").values(), *sealed]


def test_a_minimum_version_breaks_who_cannot_follow(zoo: dict[str, Running]) -> None:
    """Each verdict, worst first; a host that has the minimum already is not asked about, and nothing is changed."""
    host_before(zoo["good"], name="new")
    host_before(zoo["only-tls-12"], name="old")
    host_before(zoo["unknown-authority"], name="broken")
    host_before(zoo["good"], name="strict", min_version="TLSv1.3")
    host_before(zoo["good"], name="past", max_version="TLSv1.2")
    make_host("plain", upstreams=(UpstreamSpec(scheme="http", address="127.0.0.1", port=1),))
    before = stored()
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3))
    assert verdicts(answer) == {
        "old": "breaks",
        "past": "not_tested",
        "broken": "already_failing",
        "new": "works",
        "plain": "works",
    }
    assert [str(outcome.verdict) for outcome in answer.hosts] == sorted(
        verdicts(answer).values(), key=list(Verdict).index
    )
    old, refused = answer.hosts[0].upstreams[0], answer.hosts[1].upstreams[0]
    assert old.now is not None
    assert old.then is not None
    assert (old.now["tls"]["version"], old.code) == ("TLSv1.2", "protocol_version")
    assert old.then["error"]["fix"]
    assert (refused.code, refused.now) == ("refused_by_aegis", None)
    assert "below the minimum" in refused.message
    assert not answer.is_complete
    assert stored() == before
    assert all(not latest_tests(host) for host in Host.objects.all())
    assert not ConnectionTest.objects.exclude(job=None).exists()


def test_the_worst_upstream_decides(zoo: dict[str, Running]) -> None:
    """One of two breaks: the host does."""
    host_before(zoo["good"], zoo["only-tls-12"])
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3))
    assert verdicts(answer) == {"orders": "breaks"}
    assert [str(outcome.verdict) for outcome in answer.hosts[0].upstreams] == ["works", "breaks"]
    assert (answer.is_complete, answer.count(Verdict.BREAKS), answer.count(Verdict.WORKS)) == (True, 1, 0)


def test_a_ca_that_is_needed_and_one_that_is_not(zoo: dict[str, Running]) -> None:
    """The upstream's own CA breaks the host, another one in the bundle does not; a host without it is not concerned."""
    bundle = zoo["good"].spec.ca_pem.decode()
    host_before(zoo["good"], ca_certificate=bundle + CA.pem)
    host_before(zoo["good"], name="unconcerned")
    own, other = Host.objects.get(name="orders").upstream_tls.ca_certificate_facts
    answer = ask(planned(Kind.REMOVE_CA_CERTIFICATE, certificate=other.fingerprint_sha256))
    assert verdicts(answer) == {"orders": "works"}
    answer = ask(planned(Kind.REMOVE_CA_CERTIFICATE, certificate=own.fingerprint_sha256))
    assert verdicts(answer) == {"orders": "breaks", "unconcerned": "breaks"}
    notes = {outcome.host.name: outcome.note for outcome in answer.hosts}
    assert "system trust store" in notes["unconcerned"]
    assert notes["orders"] == ""


def test_another_ca_and_another_certificate(zoo: dict[str, Running]) -> None:
    """A bundle that does not know the upstream breaks; so does a certificate that the upstream does not take."""
    host = host_before(zoo["good"])
    answer = ask(planned(Kind.CA_CERTIFICATE, settings=UpstreamTLSChanges(ca_certificate=CA.pem)))
    assert (verdicts(answer), answer.hosts[0].upstreams[0].code) == ({"orders": "breaks"}, "unknown_authority")
    fingerprint = host.upstream_configuration.client_certificate_facts[0].fingerprint_sha256
    answer = ask(planned(Kind.REPLACE_CERTIFICATE, certificate=fingerprint, settings=mtls()))
    assert (verdicts(answer), answer.hosts[0].upstreams[0].code) == (
        {"orders": "breaks"},
        "client_certificate_untrusted",
    )


def test_a_revocation_is_not_tested() -> None:
    """The answer names who presents the certificate, and says that nothing was tried."""
    ensure_authority()
    host = make_host()
    record = install_issued_certificate(host=host, user=None)
    make_host("another", upstream_tls=mtls())
    answer = ask(planned(Kind.REVOKE_CERTIFICATE, certificate=record.serial_number.upper()))
    assert verdicts(answer) == {"orders": "not_tested"}
    assert "has no other" in answer.hosts[0].note
    assert "cannot be tried" in answer.hosts[0].note
    assert not answer.is_complete
    assert not ConnectionTest.objects.exists()
    assert IssuedCertificate.objects.count() == 1


def test_only_the_hosts_that_are_named(zoo: dict[str, Running]) -> None:
    """Others are not tried."""
    host_before(zoo["only-tls-12"], name="other")
    host = host_before(zoo["only-tls-12"])
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3, host_ids=[host.pk]))
    assert verdicts(answer) == {"orders": "breaks"}


def test_more_upstreams_than_one_answer_has_room_for(zoo: dict[str, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is not tested, and says so."""
    monkeypatch.setattr(what_if, "MAX_UPSTREAMS", 1)
    host_before(zoo["good"], name="a")
    host_before(zoo["good"], name="b")
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3))
    assert verdicts(answer) == {"b": "not_tested", "a": "works"}
    assert answer.hosts[0].upstreams[0].code == "too_many"


def test_when_the_time_is_over(zoo: dict[str, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is started, and the answer says what is missing."""
    monkeypatch.setattr(what_if, "_START_WITHIN_S", -1.0)
    host_before(zoo["good"])
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3))
    assert (verdicts(answer), answer.is_complete) == ({"orders": "not_tested"}, False)
    assert answer.hosts[0].upstreams[0].code == "out_of_time"
    assert not ConnectionTest.objects.exists()


def test_without_a_worker_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first tests that nobody takes, not after all of them."""
    monkeypatch.setattr(run_connection_tests, "delay", lambda test_ids: None)
    monkeypatch.setattr(connection_tests, "TAKEN_WITHIN", connection_tests.TAKEN_WITHIN / 10)
    for index in range(what_if.UPSTREAMS_AT_ONCE + 4):
        make_host(f"host-{index}", upstreams=(UpstreamSpec(address="127.0.0.1", port=1),))
    begun = time.monotonic()
    with pytest.raises(NotRun) as caught:
        ask(planned(Kind.MIN_VERSION, settings=TLS_1_3))
    assert caught.value.code == "no_worker"
    assert time.monotonic() - begun < 20
    assert ConnectionTest.objects.count() == 2 * what_if.UPSTREAMS_AT_ONCE


def test_a_worker_that_is_lost_on_the_way(zoo: dict[str, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tested before is told; the rest is not tested."""
    monkeypatch.setattr(what_if, "UPSTREAMS_AT_ONCE", 1)
    monkeypatch.setattr(connection_tests, "TAKEN_WITHIN", connection_tests.TAKEN_WITHIN / 10)
    calls: list[list[str]] = []

    def delay(test_ids: list[str]) -> None:
        calls.append(test_ids)
        if len(calls) <= 2:
            run_connection_tests(test_ids)

    monkeypatch.setattr(run_connection_tests, "delay", delay)
    host_before(zoo["good"], name="a")
    host_before(zoo["good"], name="b")
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3))
    assert verdicts(answer) == {"b": "not_tested", "a": "works"}
    assert answer.hosts[0].upstreams[0].code == "no_worker"


def document(status: int | None = 200, *, error: str = "", stage: str = "tls") -> dict[str, Any]:
    """The document of a connection test."""
    return {
        "success": not error,
        "http": None if status is None else {"status": status},
        "error": {"code": error, "message": f"message of {error}", "evidence": {"stage": stage}} if error else None,
    }


@pytest.mark.parametrize(
    ("now", "then", "verdict", "code"),
    [
        (document(), document(), Verdict.WORKS, ""),
        (document(404), document(500), Verdict.WORKS, ""),
        (document(None), document(None), Verdict.WORKS, ""),
        (document(), document(error="protocol_version"), Verdict.BREAKS, "protocol_version"),
        (document(), document(error="timeout"), Verdict.BREAKS, "timeout"),
        (document(), document(403), Verdict.BREAKS, "refused_by_status"),
        (document(), document(error="connection_refused", stage="tcp"), Verdict.NOT_TESTED, "upstream_went_away"),
        (document(), document(error="dns", stage="dns"), Verdict.NOT_TESTED, "upstream_went_away"),
        (document(error="unknown_authority"), document(), Verdict.ALREADY_FAILING, ""),
        (document(403), document(403), Verdict.ALREADY_FAILING, ""),
    ],
)
def test_the_verdict(now: dict[str, Any], then: dict[str, Any], verdict: Verdict, code: str) -> None:
    """It breaks when it works now and not then, and TLS can be the reason."""
    assert judge(now, then)[:2] == (verdict, code)


def test_hosts_that_nobody_can_name() -> None:
    """No host at all: nothing is concerned, and nothing is missing."""
    answer = ask(planned(Kind.MIN_VERSION, settings=TLS_1_3, host_ids=[uuid.uuid4()]))
    assert (answer.hosts, answer.is_complete) == ((), True)
