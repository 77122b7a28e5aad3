"""connection_tests: asking for tests, waiting for them, and what is kept of them."""

import datetime
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from kombu.exceptions import OperationalError

from aegis_site.kernel.keyring import SecretUnreadable
from hosts import connection_test_run, connection_tests
from hosts.connection_tests import (
    ANSWER_WITHIN,
    KEPT_WITHOUT_HOST,
    TAKEN_WITHIN,
    NothingToTest,
    NotRun,
    all_upstreams,
    candidate_configuration,
    current_tests,
    expire_lost_tests,
    first_upstream,
    last_outcomes,
    latest_tests,
    one_upstream,
    request_tests,
    request_tests_as_stored,
    results_of,
    wait_for,
)
from hosts.models import ConnectionTest, ConnectionTestState, Host, Upstream
from hosts.sealed_jobs import open_job
from hosts.specs import UpstreamSpec
from hosts.tasks import run_connection_tests
from tests.hosts.connection_examples import FakeProbe, failure
from tests.hosts.examples import LEAF, OTHER_LEAF, make_host, mtls
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

PLAIN = Upstream(scheme="http", address="10.0.0.1", port=80)
OFF = Upstream(scheme="https", address="10.0.0.2", port=443, enabled=False)
FIRST = Upstream(scheme="https", address="10.0.0.3", port=443)
SECOND = Upstream(scheme="https", address="10.0.0.4", port=443)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> FakeProbe:
    fake = FakeProbe()
    monkeypatch.setattr(connection_test_run, "probe", fake)
    return fake


def request(host: Host, **changes: Any) -> uuid.UUID:
    """A test of the host's upstreams with changes of the request."""
    values: dict[str, Any] = {
        "host": host,
        "domains": [domain.name for domain in host.domains.all()],
        "upstreams": list(host.upstreams.all()),
        "configuration": candidate_configuration(host, UpstreamTLSChanges()),
        "user": None,
    }
    return request_tests(**{**values, **changes})


def host_field(host: Host, **changes: Any) -> str:
    test = ConnectionTest.objects.filter(batch=request(host, **changes)).get()
    assert test.job is not None
    return open_job(test.job).host_field


# Which upstreams


def test_the_first_enabled_upstream_is_tested() -> None:
    """In the order in which traffic tries them."""
    assert first_upstream([OFF, FIRST, SECOND]) == [FIRST]


def test_one_upstream_is_tested_also_when_it_is_disabled() -> None:
    """Who names it wants to know before enabling it."""
    assert one_upstream(OFF) == [OFF]


def test_all_means_the_enabled_ones_that_speak_tls() -> None:
    """A mixed host has some."""
    assert all_upstreams([PLAIN, OFF, FIRST, SECOND]) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("choose", "code", "message"),
    [
        (lambda: first_upstream([OFF]), "no_upstream", "There is no enabled upstream to test."),
        (lambda: all_upstreams([OFF]), "no_upstream", "There is no enabled upstream to test."),
        (
            lambda: first_upstream([PLAIN, FIRST]),
            "upstream_without_tls",
            "The upstream http://10.0.0.1:80 is reached over plain HTTP: there is no TLS to test.",
        ),
        (
            lambda: all_upstreams([PLAIN]),
            "upstream_without_tls",
            "The upstream http://10.0.0.1:80 is reached over plain HTTP: there is no TLS to test.",
        ),
    ],
)
def test_without_tls_there_is_nothing_to_test(choose: Any, code: str, message: str) -> None:
    """And the refusal says why."""
    with pytest.raises(NothingToTest) as caught:
        choose()
    assert (caught.value.code, caught.value.message) == (code, message)


# What is requested


def test_a_request_is_queued_with_the_row_ids_only(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any, admin_user: User
) -> None:
    """One message for the batch, after the commit; the key waits sealed in the row."""
    messages: list[Any] = []
    monkeypatch.setattr(run_connection_tests, "delay", lambda *arguments: messages.append(arguments))
    host = make_host(upstream_tls=mtls())
    with django_capture_on_commit_callbacks(execute=True):
        batch = request(host, user=admin_user)
        assert messages == []
    test = ConnectionTest.objects.get()
    assert messages == [([str(test.pk)],)]
    assert (test.batch, test.state, test.requested_by) == (batch, ConnectionTestState.QUEUED, admin_user)
    assert (test.address, test.port, test.upstream, test.host) == ("10.0.0.7", 9443, host.upstreams.get(), host)
    assert test.job is not None
    assert open_job(test.job).spec.client_key_pem == LEAF.key_pem.encode()
    row = str(ConnectionTest.objects.filter(pk=test.pk).extra(select={"raw": "job"}).values_list("raw").get())
    assert LEAF.key_pem.splitlines()[1] not in row


def test_a_queue_that_is_away_ends_the_test_at_once(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asked need not wait for what cannot come; the log has no URL with a password."""

    def refuse(*arguments: object) -> None:
        raise OperationalError("redis://:password@redis")

    monkeypatch.setattr(run_connection_tests, "delay", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        batch = request(make_host(upstream_tls=mtls()))
    (test,) = wait_for(batch)
    assert (test.state, test.job) == (ConnectionTestState.EXPIRED, None)
    assert "not queued" in caplog.text
    assert "password" not in caplog.text


def test_the_host_field_is_what_traffic_would_have() -> None:
    """The upstream's own name, with the port unless it is the default; else a name of the host."""
    assert host_field(make_host("a")) == "10.0.0.7:9443"
    assert host_field(make_host("b", upstream_tls=UpstreamTLSChanges(server_name="b.internal"))) == "b.internal:9443"
    assert host_field(make_host("c", upstreams=(UpstreamSpec(address="fd00::1", port=443),))) == "[fd00::1]"
    preserving = make_host("d", domains=("*.d.example.com", "d.example.com"), preserve_host=True)
    assert host_field(preserving) == "d.example.com"
    wild = make_host("e", domains=("*.e.example.com",), preserve_host=True)
    assert host_field(wild) == "aegis-connection-test.e.example.com"


def test_what_is_tested_is_compared_with_what_is_stored() -> None:
    """Only a test of exactly the saved host counts as one of it."""
    host = make_host(upstream_tls=mtls())

    def is_of_saved(**changes: Any) -> bool:
        return ConnectionTest.objects.get(batch=request(host, **changes)).is_of_saved_host

    def configured(**changes: Any) -> UpstreamTLSConfiguration:
        return candidate_configuration(host, UpstreamTLSChanges(**changes))

    moved = host.upstreams.get()
    moved.port = 9444
    assert is_of_saved()
    assert is_of_saved(configuration=configured(client_certificate=LEAF.chain_pem, client_key=LEAF.key_pem))
    assert not is_of_saved(configuration=configured(server_name="other.internal"))
    assert not is_of_saved(configuration=configured(enabled=False))
    assert not is_of_saved(upstreams=[moved])
    assert not is_of_saved(upstreams=[Upstream(address="10.0.0.7", port=9443)])
    host.preserve_host = True
    assert not is_of_saved()


def test_a_host_that_is_not_saved_can_be_tested() -> None:
    """Its test belongs to nothing and goes with the sweep."""
    host = Host(name="new")
    batch = request(host, upstreams=[Upstream(address="10.0.0.7", port=9443)], domains=["new.example.com"])
    test = ConnectionTest.objects.get(batch=batch)
    assert (test.host, test.upstream, test.is_of_saved_host) == (None, None, False)
    expire_lost_tests(now=timezone.now() + KEPT_WITHOUT_HOST / 2)
    assert ConnectionTest.objects.exists()
    expire_lost_tests(now=timezone.now() + KEPT_WITHOUT_HOST * 2)
    assert not ConnectionTest.objects.exists()


def test_a_candidate_is_checked_and_not_saved() -> None:
    """What is not named stays as stored; errors stand at the paths of the API."""
    host = make_host(upstream_tls=mtls())
    configuration = candidate_configuration(host, UpstreamTLSChanges(server_name="Other.Internal"))
    assert (configuration.server_name, configuration.enabled) == ("other.internal", True)
    assert UpstreamTLSConfiguration.objects.get().server_name == ""
    with pytest.raises(ValidationError) as caught:
        candidate_configuration(host, UpstreamTLSChanges(client_key=OTHER_LEAF.key_pem, ca_certificate="no PEM"))
    assert set(caught.value.error_dict) == {"upstream_tls.client_key", "upstream_tls.ca_certificate"}


def test_a_new_key_is_tested_when_the_stored_one_does_not_open() -> None:
    """The stored one alone is an error with its reason."""
    host = make_host(upstream_tls=mtls())
    other = make_host("other", upstream_tls=mtls())
    stored = other.upstream_tls.client_key
    assert stored is not None
    UpstreamTLSConfiguration.objects.filter(host=host).update(client_key=stored.blob)
    with pytest.raises(SecretUnreadable):
        request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    changes = UpstreamTLSChanges(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem)
    batch = request(host, configuration=candidate_configuration(host, changes))
    assert not ConnectionTest.objects.get(batch=batch).is_of_saved_host


def test_only_the_newest_tests_of_a_host_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not over stay as well."""
    monkeypatch.setattr(connection_tests, "KEPT_TESTS", 2)
    host = make_host()
    first = request(host)
    over = request(host)
    ConnectionTest.objects.filter(batch=over).expire(timezone.now())
    later = [request(host), request(host)]
    assert set(ConnectionTest.objects.values_list("batch", flat=True)) == {first, *later}


# Waiting


def test_a_test_that_nobody_takes_expires() -> None:
    """Not before an idle worker had its chance; the reason names the worker."""
    batch = request(make_host())
    (test,) = current_tests(batch)
    assert test.state == ConnectionTestState.QUEUED
    ConnectionTest.objects.update(created_at=timezone.now() - TAKEN_WITHIN)
    (test,) = wait_for(batch)
    assert (test.state, test.job) == (ConnectionTestState.EXPIRED, None)
    with pytest.raises(NotRun) as caught:
        results_of([test])
    assert (caught.value.code, caught.value.message) == (
        "no_worker",
        "No Celery worker took the test. Is the worker running, and Redis reachable?",
    )


def test_a_test_that_was_taken_has_its_time() -> None:
    """Then it expires as well, for another reason."""
    batch = request(make_host())
    now = timezone.now()
    ConnectionTest.objects.update(state="running", started_at=now, created_at=now - TAKEN_WITHIN * 2)
    assert current_tests(batch)[0].state == ConnectionTestState.RUNNING
    ConnectionTest.objects.update(created_at=now - ANSWER_WITHIN)
    with pytest.raises(NotRun, match="did not finish it") as caught:
        results_of(wait_for(batch))
    assert caught.value.code == "test_not_finished"


def test_the_api_promises_eight_seconds() -> None:
    """Both waits at their worst, and the last look."""
    assert ANSWER_WITHIN + datetime.timedelta(seconds=connection_tests.POLL_EVERY_S) < datetime.timedelta(seconds=8)


def test_waiting_is_cheap() -> None:
    """Two queries a look, and no write."""
    batch = request(make_host())
    with CaptureQueriesContext(connection) as queries:
        current_tests(batch)
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT"]


def test_the_sweep_ends_what_a_dead_worker_left() -> None:
    """And nothing that is still on its way; a second run finds nothing."""
    host = make_host()
    now = timezone.now()
    lost, running = request(host), request(host)
    ConnectionTest.objects.filter(batch=lost).update(
        state="running", started_at=now, created_at=now - 2 * ANSWER_WITHIN
    )
    ConnectionTest.objects.filter(batch=running).update(state="running", started_at=now)
    assert expire_lost_tests(now=now) == 1
    assert expire_lost_tests(now=now) == 0
    assert ConnectionTest.objects.get(batch=lost).job is None
    assert ConnectionTest.objects.get(batch=running).state == ConnectionTestState.RUNNING


# Looking back


def test_the_latest_tests_are_those_of_the_last_batch(probe: FakeProbe) -> None:
    """All of them, failures first; a host that was never tested has none."""
    probe.answer = lambda target: failure(target) if target.address == "10.0.0.8" else FakeProbe().answer(target)
    host = make_host(upstreams=tuple(UpstreamSpec(address=f"10.0.0.{last}", port=9443) for last in (7, 8, 9)))
    assert latest_tests(host) == []
    for _ in range(2):
        batch = request(host)
        connection_test_run.run_tests([str(test.pk) for test in current_tests(batch)])
    tests = latest_tests(host)
    assert {test.batch for test in tests} == {batch}
    assert tests[0].address == "10.0.0.8"
    assert len(results_of(tests)) == 3


def test_the_last_outcome_is_the_worst_of_the_last_saved_test(probe: FakeProbe) -> None:
    """Tests of values that were not saved, and tests without a result, say nothing about the host."""
    host, other = make_host("tested"), make_host("never")

    def run(**changes: Any) -> ConnectionTest:
        batch = request(host, **changes)
        connection_test_run.run_tests([str(test.pk) for test in current_tests(batch)])
        return current_tests(batch)[0]

    run()
    probe.answer = failure
    failed = run()
    probe.answer = FakeProbe().answer
    run(configuration=candidate_configuration(host, UpstreamTLSChanges(server_name="other.internal")))
    request(host)
    with CaptureQueriesContext(connection) as queries:
        outcomes = last_outcomes([host.pk, other.pk])
        assert outcomes == {host.pk: failed}
        assert (outcomes[host.pk].success, outcomes[host.pk].code) == (False, "unknown_authority")
    assert len(queries) == 1
