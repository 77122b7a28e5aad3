"""What a worker reads and reports."""

import json
import uuid

import pytest
from django.utils import timezone

from hosts.models import CompiledHost, ProxyWorker
from hosts.publish import compile_hosts
from hosts.services import delete_host
from hosts.specs import HeaderRuleSpec
from hosts.traffic_models import TrafficConfiguration
from hosts.worker_feed import DatabaseFeed, KeyUnusable
from proxyworker.build import build
from proxyworker.snapshot import UpstreamFailure, WorkerReport, decode_entry
from tests.hosts.examples import LEAF, SITE, make_host, mtls, site

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def closings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Counts instead of closing: the test's transaction must stay open."""
    calls: list[None] = []
    monkeypatch.setattr("hosts.worker_feed.close_old_connections", lambda: calls.append(None))
    return calls


def test_entries_come_with_their_key_and_without_showing_it() -> None:
    """The key opens on demand only."""
    host = make_host(upstream_tls=mtls())
    compile_hosts([host.pk])
    (entry,) = DatabaseFeed().entries_since(0)
    row = CompiledHost.objects.get()
    assert (entry.host_id, entry.generation, entry.digest) == (str(host.pk), 1, row.digest)
    assert decode_entry(entry.entry_json).host_id == str(host.pk)
    assert entry.open_client_key is not None
    assert entry.open_client_key() == LEAF.key_pem.encode()
    assert "PRIVATE" not in repr(entry)


def test_a_host_without_client_certificate_has_no_key() -> None:
    """There is nothing to open."""
    compile_hosts([make_host().pk])
    (entry,) = DatabaseFeed().entries_since(0)
    assert entry.open_client_key is None


def test_a_key_with_a_problem_is_refused_with_the_reason() -> None:
    """The worker then rejects the host instead of going without certificate."""
    compile_hosts([make_host(upstream_tls=mtls()).pk])
    CompiledHost.objects.update(problem="The client key cannot be opened: why.", client_key=None)
    (entry,) = DatabaseFeed().entries_since(0)
    assert entry.open_client_key is not None
    with pytest.raises(KeyUnusable, match="cannot be opened: why"):
        entry.open_client_key()


def test_only_news_are_sent_in_order() -> None:
    """Tombstones reach workers that may know the host, and not new ones."""
    first, second = make_host("first"), make_host("second")
    identifiers = [first.pk, second.pk]
    compile_hosts(identifiers)
    feed = DatabaseFeed()
    assert feed.latest_generation() == 2
    delete_host(host=first, user=None)
    compile_hosts(identifiers)
    assert [entry.generation for entry in feed.entries_since(2)] == [3]
    assert [entry.entry_json for entry in feed.entries_since(2)] == [""]
    assert [entry.host_id for entry in feed.entries_since(0)] == [str(identifiers[1])]
    assert not list(feed.entries_since(3))


def test_a_report_is_kept_and_replaced() -> None:
    """One row for each worker, with the time of its last word."""
    feed = DatabaseFeed()
    feed.record_report(WorkerReport(worker_id="w1", generation=1, accepted=3, version="1", pid=42))
    feed.record_report(WorkerReport(worker_id="w1", generation=2, accepted=2, rejected=(("id", "reason"),)))
    row = ProxyWorker.objects.get()
    assert (row.generation, row.accepted, row.rejected) == (2, 2, {"id": "reason"})
    assert not row.health_feed_is_current
    assert (timezone.now() - row.last_seen_at).total_seconds() < 5


def test_whether_checks_are_heard_is_kept() -> None:
    """Both ways."""
    feed = DatabaseFeed()
    for is_current in (True, False):
        feed.record_report(WorkerReport(worker_id="w1", generation=1, accepted=3, health_feed_is_current=is_current))
        assert ProxyWorker.objects.get().health_feed_is_current is is_current


def test_failures_of_upstreams_are_kept_with_the_report() -> None:
    """Those of upstreams that are gone are passed over, and the report is kept all the same."""
    host = make_host()
    known, gone = str(host.upstreams.get().pk), str(uuid.uuid4())
    failures = tuple(
        UpstreamFailure(
            host_id=str(host.pk),
            upstream_id=upstream_id,
            phase="tls",
            code="expired",
            reason="why",
            request_id="a1-42",
            at=1_800_000_000.0,
            count=2,
        )
        for upstream_id in (gone, known)
    )
    DatabaseFeed().record_report(WorkerReport(worker_id="w1", generation=1, accepted=1, failures=failures))
    assert ProxyWorker.objects.get().generation == 1
    assert [(row.worker_id, row.code) for row in host.upstreams.get().failures.all()] == [("w1", "expired")]
    DatabaseFeed().record_report(WorkerReport(worker_id="w1", generation=2, accepted=1))
    assert host.upstreams.get().failures.count() == 1


def test_old_connections_are_closed_before_and_after(closings: list[None]) -> None:
    """The worker's threads live for weeks and have no requests that would do it."""
    feed = DatabaseFeed()
    feed.latest_generation()
    list(feed.entries_since(0))
    feed.record_report(WorkerReport(worker_id="w1", generation=1, accepted=3))
    assert len(closings) == 6


def test_the_key_of_a_certificate_for_clients_comes_on_demand() -> None:
    """As the client key does; one that could not be published says why."""
    compile_hosts([make_host(downstream_tls=site()).pk])
    (entry,) = DatabaseFeed().entries_since(0)
    assert entry.open_downstream_key is not None
    assert entry.open_downstream_key() == SITE.key_pem.encode()
    assert entry.open_client_key is None
    CompiledHost.objects.update(downstream_problem="The key cannot be opened: why.", downstream_key=None)
    (entry,) = DatabaseFeed().entries_since(0)
    assert entry.open_downstream_key is not None
    with pytest.raises(KeyUnusable, match="cannot be opened: why"):
        entry.open_downstream_key()


def test_secret_values_of_rules_come_on_demand() -> None:
    """As keys do; what could not be published says why."""
    host = make_host(request_headers=(HeaderRuleSpec(action="set", name="Authorization", value="Bearer canary"),))
    compile_hosts([host.pk])
    (entry,) = DatabaseFeed().entries_since(0)
    assert entry.open_header_secrets is not None
    assert list(json.loads(entry.open_header_secrets()).values()) == ["Bearer canary"]
    TrafficConfiguration.objects.update(header_secrets=b"unreadable")
    compile_hosts([host.pk])
    (entry,) = DatabaseFeed().entries_since(0)
    assert entry.open_header_secrets is not None
    with pytest.raises(KeyUnusable, match="The values of header rules cannot be opened"):
        entry.open_header_secrets()
    assert build(entry).rejected == "configuration cannot be used: KeyUnusable"
