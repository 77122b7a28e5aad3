"""connection_test_run: what the Celery worker does with requested tests."""

import logging
import threading
import uuid

import pytest
from django.utils import timezone

from hosts import connection_test_run
from hosts.connection_test_run import run_tests
from hosts.connection_tests import request_tests_as_stored
from hosts.models import ConnectionTest, ConnectionTestState, Host
from hosts.specs import UpstreamSpec
from tests.hosts.connection_examples import FakeProbe, failure, result
from tests.hosts.examples import LEAF, make_host, mtls
from tests.support.certificates import Authority
from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.tls.result import ProbeResult, ProbeTarget

pytestmark = pytest.mark.django_db

UNTRUSTED = Diagnosis(
    code="client_certificate_untrusted",
    message="remote error: tls: unknown certificate authority",
    cause="It does not know our CA.",
    fix="Install it.",
    field="client_certificate",
)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> FakeProbe:
    fake = FakeProbe()
    monkeypatch.setattr(connection_test_run, "probe", fake)
    return fake


def requested(host: Host) -> list[str]:
    """Tests of all upstreams of a host, queued; the row ids in the order of the upstreams."""
    batch = request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    tests = ConnectionTest.objects.filter(batch=batch).order_by("upstream__position")
    return [str(test.pk) for test in tests]


def three_upstreams() -> Host:
    return make_host(
        upstreams=tuple(UpstreamSpec(address=f"10.0.0.{last}", port=9443) for last in (7, 8, 9)), upstream_tls=mtls()
    )


def test_a_test_is_run_with_what_was_requested(probe: FakeProbe) -> None:
    """The spec with the opened key, the address, and the Host field that traffic would have."""
    (test_id,) = requested(make_host(upstream_tls=mtls(server_name="orders.internal")))
    run_tests([test_id])
    test = ConnectionTest.objects.get()
    assert probe.specs[0].client_key_pem == LEAF.key_pem.encode()
    assert probe.targets == [ProbeTarget(address="10.0.0.7", port=9443, host_field="orders.internal:9443")]
    assert (test.state, test.success, test.code, test.job) == (ConnectionTestState.DONE, True, "", None)
    assert test.result is not None
    assert test.result["upstream"] == {
        "id": str(test.upstream_id),
        "address": "10.0.0.7",
        "port": 9443,
        "server_name": "orders.internal",
    }
    assert test.created_at <= test.started_at <= test.finished_at  # type: ignore[operator]


def test_a_failed_handshake_is_a_result(probe: FakeProbe) -> None:
    """With the code beside the document, for lists."""
    probe.answer = failure
    run_tests(requested(make_host()))
    test = ConnectionTest.objects.get()
    assert (test.state, test.success, test.code) == (ConnectionTestState.DONE, False, "unknown_authority")


def test_which_stored_certificates_would_do_is_said(probe: FakeProbe) -> None:
    """An upstream that lists the CAs it accepts refuses ours: another host has one of them."""
    make_host("billing", upstream_tls=mtls())
    stranger = Authority("Stranger").client("stranger")
    orders = make_host(
        upstream_tls=mtls(client_certificate=stranger.chain_pem, client_key=stranger.key_pem, server_name="orders.test")
    )
    probe.answer = lambda target: failure(target, error=UNTRUSTED)
    run_tests(requested(orders))
    test = ConnectionTest.objects.get()
    assert test.result is not None
    assert test.result["error"]["cause"] == (
        "It does not know our CA. Of the certificates stored here it would accept: CN=orders client of host billing."
    )


def test_running_twice_tests_once(probe: FakeProbe) -> None:
    """A message that is delivered again finds its tests taken."""
    test_ids = requested(three_upstreams())
    run_tests(test_ids)
    before = list(ConnectionTest.objects.values())
    run_tests(test_ids)
    assert list(ConnectionTest.objects.values()) == before
    assert len(probe.targets) == 3


def test_what_is_gone_or_expired_is_not_run(probe: FakeProbe) -> None:
    """A worker that comes back late tests nothing that nobody waits for."""
    test_ids = requested(three_upstreams())
    ConnectionTest.objects.filter(pk=test_ids[0]).expire(timezone.now())
    ConnectionTest.objects.filter(pk=test_ids[1]).delete()
    run_tests([str(uuid.uuid4()), *test_ids[:2]])
    assert probe.targets == []


def test_the_tests_of_a_batch_run_side_by_side(probe: FakeProbe) -> None:
    """Each waits for all others to have begun."""
    barrier = threading.Barrier(3, timeout=10)

    def answer(target: ProbeTarget) -> ProbeResult:
        barrier.wait()
        return result(target)

    probe.answer = answer
    run_tests(requested(three_upstreams()))
    assert {test.state for test in ConnectionTest.objects.all()} == {ConnectionTestState.DONE}


def test_a_mistake_of_ours_costs_one_test_only(probe: FakeProbe, caplog: pytest.LogCaptureFixture) -> None:
    """It expires, its reason is in the log, the others have their results."""

    def answer(target: ProbeTarget) -> ProbeResult:
        if target.address == "10.0.0.8":
            raise RuntimeError("a mistake")
        return result(target)

    probe.answer = answer
    run_tests(requested(three_upstreams()))
    states = dict(ConnectionTest.objects.values_list("address", "state"))
    assert states == {"10.0.0.7": "done", "10.0.0.8": "expired", "10.0.0.9": "done"}
    assert not ConnectionTest.objects.exclude(job=None).exists()
    assert "a mistake" in caplog.text


def test_a_probe_that_does_not_end_is_left_behind(
    probe: FakeProbe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The task ends in time, and an answer that comes later is not written over what was said."""
    monkeypatch.setattr(connection_test_run, "RUN_LIMIT_S", 0.05)
    released, ended = threading.Event(), threading.Event()

    def answer(target: ProbeTarget) -> ProbeResult:
        released.wait(10)
        ended.set()
        return result(target)

    probe.answer = answer
    try:
        run_tests(requested(make_host()))
        assert ConnectionTest.objects.get().state == ConnectionTestState.EXPIRED
        assert "did not end within" in caplog.text
    finally:
        released.set()
    assert ended.wait(10)
    assert ConnectionTest.objects.get().state == ConnectionTestState.EXPIRED


def test_a_job_that_does_not_open_is_not_run(probe: FakeProbe, caplog: pytest.LogCaptureFixture) -> None:
    """As after a wrong AEGIS_SSL_KEY; the others run."""
    test_ids = requested(three_upstreams())
    other = ConnectionTest.objects.get(pk=test_ids[1])
    assert other.job is not None
    ConnectionTest.objects.filter(pk=test_ids[0]).update(job=other.job.blob)
    run_tests(test_ids)
    assert [test.address for test in ConnectionTest.objects.filter(state="expired")] == ["10.0.0.7"]
    assert len(probe.targets) == 2


def test_no_secret_is_logged(probe: FakeProbe, caplog: pytest.LogCaptureFixture) -> None:
    """At any level."""
    caplog.set_level(logging.DEBUG)
    run_tests(requested(make_host(upstream_tls=mtls())))
    assert LEAF.key_pem.splitlines()[1] not in caplog.text
    assert "connection test of 10.0.0.7:9443: ok" in caplog.text
