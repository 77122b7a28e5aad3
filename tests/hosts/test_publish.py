"""Compile, give out a generation, announce."""

import logging
import time
import uuid
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aegis_site.kernel.fields import Sealed
from hosts import publish as publishing
from hosts.models import CompiledHost, DownstreamTLSConfiguration, GenerationCounter, Host
from hosts.publish import announce, compile_hosts, publish, publish_on_commit, publishing_together
from hosts.selectors import hosts_to_compile
from hosts.services import delete_host, update_host
from hosts.specs import DownstreamTLSChanges, HeaderRuleSpec, HostSpec
from hosts.traffic_models import TrafficConfiguration
from proxyworker.snapshot import SCHEMA_VERSION, decode_entry, entry_digest
from tests.hosts.examples import LEAF, OTHER_SITE, SITE, make_host, mtls, site
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The generations that were announced, instead of Redis."""
    generations: list[int] = []
    monkeypatch.setattr(publishing, "announce", generations.append)
    return generations


def compiled(host: Host) -> CompiledHost:
    return CompiledHost.objects.get(pk=host.pk)


def test_a_host_is_published_with_its_key_sealed_for_its_new_place() -> None:
    """The row holds the canonical entry, its digest, and the key under a seal of its own."""
    host = make_host(upstream_tls=mtls())
    assert compile_hosts([host.pk]) == 1
    row = compiled(host)
    assert decode_entry(row.entry_json).name == row.name == "orders"
    assert row.digest == entry_digest(row.entry_json)
    assert (row.generation, row.schema_version, row.problem) == (1, SCHEMA_VERSION, "")
    assert row.source_updated_at == host.updated_at
    assert row.client_key.reveal() == LEAF.key_pem.encode()
    assert row.client_key.blob != UpstreamTLSConfiguration.objects.get(host=host).client_key.blob
    assert "PRIVATE" not in row.entry_json


def test_an_equal_entry_publishes_nothing() -> None:
    """Neither row nor counter moves, but the row knows which version of the host it is."""
    host = make_host(upstream_tls=mtls())
    compile_hosts([host.pk])
    host.save()
    assert compile_hosts([host.pk]) is None
    assert GenerationCounter.objects.get().value == compiled(host).generation == 1
    assert compiled(host).source_updated_at == host.updated_at


def test_every_change_gets_the_next_generation() -> None:
    """Only hosts that changed get one."""
    first, second = make_host("first"), make_host("second")
    assert compile_hosts([first.pk, second.pk]) == 2
    update_host(host=second, spec=HostSpec(preserve_host=True), user=None)
    assert compile_hosts([first.pk, second.pk]) == 3
    assert compiled(second).generation == 3
    assert compiled(first).generation < 3


def test_a_disabled_or_deleted_host_becomes_a_tombstone() -> None:
    """The tombstone keeps the name, has no entry and no key; enabling brings the entry back."""
    host = make_host(upstream_tls=mtls())
    compile_hosts([host.pk])
    update_host(host=host, spec=HostSpec(enabled=False), user=None)
    assert compile_hosts([host.pk]) == 2
    row = compiled(host)
    assert row.is_tombstone
    assert (row.name, row.digest, row.client_key) == ("orders", "", None)
    update_host(host=host, spec=HostSpec(enabled=True), user=None)
    assert compile_hosts([host.pk]) == 3
    identifier = host.pk
    delete_host(host=host, user=None)
    assert compile_hosts([identifier]) == 4
    assert CompiledHost.objects.get(pk=identifier).is_tombstone
    assert compile_hosts([identifier]) is None


def test_a_host_that_was_never_compiled_leaves_no_tombstone() -> None:
    """Deleted before its first compile: no worker knows it. A new disabled host has one, so that no sweep finds it."""
    host = make_host()
    identifier = host.pk
    host.delete()
    assert compile_hosts([identifier]) is None
    assert not CompiledHost.objects.exists()
    assert compile_hosts([make_host(enabled=False).pk]) == 1
    assert CompiledHost.objects.get().is_tombstone


def test_a_key_that_does_not_open_keeps_the_host_published_with_the_problem() -> None:
    """The entry still demands the key, so the worker refuses the host; other hosts are not touched."""
    broken, healthy = make_host("broken", upstream_tls=mtls()), make_host("healthy", upstream_tls=mtls())
    sealed = UpstreamTLSConfiguration.objects.get(host=broken).client_key.blob
    UpstreamTLSConfiguration.objects.filter(host=broken).update(client_key=sealed[:-1] + b"x")
    assert compile_hosts([broken.pk, healthy.pk]) == 2
    row = compiled(broken)
    assert row.problem.startswith("The client key cannot be opened: ")
    assert row.client_key is None
    assert decode_entry(row.entry_json).upstream_tls.client_certificate == LEAF.chain_pem
    assert compiled(healthy).problem == ""

    configuration = UpstreamTLSConfiguration.objects.get(host=broken)
    configuration.client_key = Sealed.of(LEAF.key_pem)
    configuration.save()
    assert compile_hosts([broken.pk]) == 3, "the entry is equal, but the key is back"
    assert compiled(broken).problem == ""


def test_the_counter_is_locked_before_the_hosts_are_read() -> None:
    """Otherwise an older state of a host could be published after a newer one."""
    host = make_host()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        compile_hosts([host.pk])
    tables = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert "hosts_generationcounter" in tables[0]


def test_publishing_waits_for_the_commit(django_capture_on_commit_callbacks: Any, announced: list[int]) -> None:
    """Nothing is compiled before; afterwards the row is there and the generation is announced."""
    with django_capture_on_commit_callbacks() as callbacks:
        host = make_host()
    assert not CompiledHost.objects.exists()
    for callback in callbacks:
        callback()
    assert compiled(host).generation == 1
    assert announced == [1]


def test_what_changes_nothing_is_not_announced(announced: list[int]) -> None:
    """Neither equal hosts nor no hosts at all."""
    host = make_host()
    publish([host.pk])
    publish([host.pk])
    publish([])
    assert announced == [1]


def test_a_failing_publish_does_not_fail_the_request(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The change is committed by then; the sweep will publish it."""

    def fail(host_ids: object) -> None:
        raise RuntimeError("database is locked")

    monkeypatch.setattr(publishing, "compile_hosts", fail)
    with django_capture_on_commit_callbacks(execute=True):
        publish_on_commit([])
    assert "database is locked" in caplog.text


def test_redis_away_is_logged_without_its_url_and_costs_no_time(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers poll; whoever saves does not wait."""
    caplog.set_level(logging.WARNING)
    for url in ("unix:///nonexistent/canary.sock", "redis://:canary@127.0.0.1:1/0"):
        settings.AEGIS_REDIS_URL = url
        started = time.perf_counter()
        announce(7)
        assert time.perf_counter() - started < 5
    assert caplog.text.count("generation 7 was not announced (ConnectionError): workers will poll") == 2
    assert "canary" not in caplog.text


def test_the_generation_is_announced_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the channel that the workers listen to."""
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(redis.Redis, "publish", lambda self, channel, message: said.append((channel, message)))
    announce(12)
    assert said == [("aegis:generation", "12")]


def test_a_certificate_for_clients_is_published_with_its_key() -> None:
    """Under a seal of its own; another key of the same host is a new generation, no certificate takes the key away."""
    host = make_host(downstream_tls=site())
    assert compile_hosts([host.pk]) == 1
    row = compiled(host)
    assert row.downstream_key.reveal() == SITE.key_pem.encode()
    assert row.downstream_key.blob != host.downstream_tls.key.blob
    assert row.client_key is None
    changes = DownstreamTLSChanges(certificate=OTHER_SITE.chain_pem, key=OTHER_SITE.key_pem)
    update_host(host=host, spec=HostSpec(downstream_tls=changes), user=None)
    assert compile_hosts([host.pk]) == 2
    assert compiled(host).downstream_key.reveal() == OTHER_SITE.key_pem.encode()
    update_host(host=host, spec=HostSpec(downstream_tls=DownstreamTLSChanges(certificate="")), user=None)
    assert compile_hosts([host.pk]) == 3
    assert compiled(host).downstream_key is None


def test_a_certificate_whose_key_does_not_open_is_a_problem_of_https_only() -> None:
    """The entry is published, the reason beside it, and the sweep tries again."""
    host = make_host(downstream_tls=site())
    DownstreamTLSConfiguration.objects.update(key=b"broken")
    assert compile_hosts([host.pk]) == 1
    row = compiled(host)
    assert row.downstream_problem.startswith("The key of the certificate for clients cannot be opened: ")
    assert (row.problem, row.downstream_key) == ("", None)
    assert host.pk in hosts_to_compile()


def test_many_changes_are_published_together(django_capture_on_commit_callbacks: Any, announced: list[int]) -> None:
    """What a block would publish is gathered for its caller, who publishes it once; afterwards all is as before."""
    gathered: set[uuid.UUID] = set()
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        with publishing_together(gathered):
            first, second = make_host("a"), make_host("b")
        publish_on_commit(gathered)
    assert gathered == {first.pk, second.pk}
    assert len(callbacks) == len(announced) == 1
    with django_capture_on_commit_callbacks() as callbacks:
        make_host("c")
    assert len(callbacks) == 1


def test_another_secret_of_a_rule_is_another_entry_and_the_same_one_is_none() -> None:
    """Its value is in the row under a seal of its own, and nowhere in clear; sealed anew it publishes nothing."""
    rule = HeaderRuleSpec(action="set", name="Authorization", value="Bearer canary")
    host = make_host(request_headers=(rule,))
    assert compile_hosts([host.pk]) == 1
    row = compiled(host)
    stored = TrafficConfiguration.objects.get()
    assert row.header_secrets.reveal() == stored.header_secrets.reveal()
    assert row.header_secrets.blob != stored.header_secrets.blob
    assert "canary" not in row.entry_json
    stored.header_secrets = Sealed.of(stored.header_secrets.reveal())
    stored.save()
    for same in (rule, HeaderRuleSpec(action="set", name="Authorization")):
        update_host(host=host, spec=HostSpec(request_headers=(same,)), user=None)
        assert compile_hosts([host.pk]) is None
    other = HeaderRuleSpec(action="set", name="Authorization", value="Bearer other")
    update_host(host=host, spec=HostSpec(request_headers=(other,)), user=None)
    assert compile_hosts([host.pk]) == 2


def test_secrets_of_rules_that_do_not_open_are_a_problem_of_the_host() -> None:
    """Beside that of its client key, if there is one."""
    rule = HeaderRuleSpec(action="set", name="Authorization", value="Bearer canary")
    host = make_host(upstream_tls=mtls(), request_headers=(rule,))
    TrafficConfiguration.objects.update(header_secrets=b"unreadable")
    compile_hosts([host.pk])
    row = compiled(host)
    assert row.problem.startswith("The values of header rules cannot be opened: ")
    assert row.header_secrets is None
    assert row.client_key is not None
    UpstreamTLSConfiguration.objects.update(client_key=b"unreadable")
    compile_hosts([host.pk])
    assert compiled(host).problem.startswith("The client key cannot be opened: ")
    assert "header rules" in compiled(host).problem
