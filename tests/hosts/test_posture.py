"""The posture of hosts: what is configured, and what was seen."""

import datetime
import json
from collections.abc import Iterator

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hosts.connection_tests import request_tests_as_stored
from hosts.models import Host
from hosts.posture import Document, postures
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, LEAF, make_host, mtls, site
from tests.hosts.zoo_hosts import host_before
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.zoo.running import Running, run_zoo

# Commits for real, because connection tests are queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

UNTIL = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Running]]:
    with run_zoo(["good", "unknown-authority"]) as running:
        yield running


def posture(host: Host, now: datetime.datetime | None = None) -> Document:
    (document,) = postures([Host.objects.with_configuration().get(pk=host.pk)], now=now or timezone.now())
    return document


def codes(document: Document) -> list[tuple[str, str]]:
    return [(finding["code"], finding["severity"]) for finding in document["findings"]]


def run_tests_of(host: Host) -> None:
    request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)


def test_what_is_configured() -> None:
    """Identity, trust, names, versions and exceptions; no key."""
    host = make_host(
        upstream_tls=mtls(
            ca_certificate=CA.pem,
            server_name="orders.internal",
            min_version="TLSv1.3",
            skip_verify=True,
            skip_verify_reason="their CA moves",
            skip_verify_until=UNTIL,
        ),
        downstream_tls=site(),
        upstreams=(
            UpstreamSpec(address="10.0.0.7", port=9443),
            UpstreamSpec(scheme="http", address="backend", port=80),
        ),
    )
    document = posture(host)
    assert document["mtls"]["enabled"]
    assert document["mtls"]["identity"]["subject"] == "CN=orders client"
    assert document["mtls"]["identity"]["days_left"] > 0
    assert document["verification"]["verified_by"] == "nothing"
    assert [found["subject"] for found in document["verification"]["ca_certificates"]] == ["CN=Orders CA"]
    assert document["versions"]["min_version"] == "TLSv1.3"
    assert document["downstream"]["certificate"]["subject"] == "CN=orders.example.com"
    skipped, plain = document["exceptions"]
    assert (skipped["kind"], skipped["reason"], skipped["until"]) == (
        "skip_verify",
        "their CA moves",
        "2099-01-01T00:00:00Z",
    )
    assert (plain["kind"], plain["upstreams"]) == ("plain_http", ["http://backend:80"])
    first, second = document["upstreams"]
    assert (first["server_name"], first["verify_name"], first["last_test"]) == (
        "orders.internal",
        "orders.internal",
        None,
    )
    assert (second["server_name"], second["verify_name"]) == ("", "")
    assert LEAF.key_pem.splitlines()[1] not in json.dumps(document)


def test_names_and_trust_that_are_not_configured() -> None:
    """The upstream's own name, never an address as SNI, and the system trust store; a stored pair is no identity."""
    host = make_host(
        upstream_tls=mtls(enabled=False),
        upstreams=(UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="backend.internal", port=443)),
    )
    document = posture(host)
    assert document["mtls"] == {"enabled": False, "identity": None}
    assert document["verification"]["verified_by"] == "system_trust_store"
    assert [(found["server_name"], found["verify_name"]) for found in document["upstreams"]] == [
        ("", "10.0.0.7"),
        ("backend.internal", "backend.internal"),
    ]
    assert ("mtls_off", "info") in codes(document)
    assert ("never_tested", "info") in codes(document)


def test_what_was_negotiated(zoo: dict[str, Running]) -> None:
    """By the last test of the host as saved; the document says when the host was changed since."""
    host = host_before(zoo["good"])
    run_tests_of(host)
    document = posture(host)
    test = document["upstreams"][0]["last_test"]
    assert (test["success"], test["verified"], test["tls_version"], test["is_current"]) == (True, True, "TLSv1.3", True)
    assert (test["client_certificate_requested"], test["client_certificate_sent"]) == (True, True)
    assert test["leaf"]["days_left"] > 0
    Host.objects.get(pk=host.pk).save()
    assert not posture(host)["upstreams"][0]["last_test"]["is_current"]
    assert ("test_outdated", "info") in codes(posture(host))
    over = datetime.datetime.fromisoformat(test["leaf"]["not_after"]) + datetime.timedelta(days=1)
    late = posture(host, over)
    assert late["upstreams"][0]["last_test"]["leaf"]["days_left"] < 0
    assert ("upstream_certificate_expired", "critical") in codes(late)


def test_a_test_that_failed(zoo: dict[str, Running]) -> None:
    """Is a finding, the first of all."""
    host = host_before(zoo["unknown-authority"])
    run_tests_of(host)
    document = posture(host)
    assert document["upstreams"][0]["last_test"]["code"] == "unknown_authority"
    assert codes(document)[0] == ("test_failed", "critical")


def test_an_exception_counts_until_its_end() -> None:
    """Whether or not a sweep has ended it: the workers do not wait for one."""
    host = make_host(upstream_tls=UpstreamTLSChanges(skip_verify=True, skip_verify_until=UNTIL))
    before = posture(host, timezone.now())
    assert [found["kind"] for found in before["exceptions"]] == ["skip_verify"]
    assert before["verification"]["verified_by"] == "nothing"
    after = posture(host, UNTIL)
    assert after["exceptions"] == []
    assert after["verification"]["verified_by"] == "system_trust_store"


def test_the_number_of_queries_does_not_grow(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """Three for the hosts, three for all that is said about them."""
    for index in range(12):
        make_host(f"host-{index}", upstream_tls=mtls(ca_certificate=CA.pem), downstream_tls=site())
    with django_assert_num_queries(6):
        assert len(postures(Host.objects.with_configuration(), now=timezone.now())) == 12
