"""From rows to an entry."""

import dataclasses
import datetime
import json
from typing import Any

import pytest

from hosts.compile import compile_host
from hosts.models import Host
from hosts.specs import HeaderRuleSpec, UpstreamSpec
from proxyworker.snapshot import (
    Deadlines,
    DownstreamTLS,
    HeaderRule,
    HostEntry,
    HostLimits,
    PassiveHealth,
    Retries,
    Upstream,
    UpstreamTLS,
    decode_entry,
    encode_entry,
    entry_digest,
)
from tests.hosts.examples import CA, LEAF, SITE, make_host, mtls, site
from tests.support.odd_certificates import pem, revocation_list

pytestmark = pytest.mark.django_db

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)


def test_an_entry_says_all_that_the_worker_needs() -> None:
    """Domains and upstreams in order, disabled upstreams left out, the key beside it."""
    host = make_host(
        domains=("orders.example.com", "*.orders.example.com"),
        preserve_host=True,
        websockets=False,
        upstreams=(
            UpstreamSpec(address="10.0.0.8", port=9443),
            UpstreamSpec(address="10.0.0.9", port=9443, enabled=False),
            UpstreamSpec(address="backend", port=80, scheme="http"),
        ),
        upstream_tls=mtls(ca_certificate=CA.pem, skip_verify=True, server_name="orders.internal"),
    )
    entry, key, *_ = compile_host(host, now=NOW)
    first, second = (upstream for upstream in host.upstreams.all() if upstream.enabled)
    assert entry == HostEntry(
        host_id=str(host.pk),
        name="orders",
        domains=("orders.example.com", "*.orders.example.com"),
        preserve_host=True,
        websockets=False,
        upstreams=(
            Upstream(upstream_id=str(first.pk), scheme="https", address="10.0.0.8", port=9443),
            Upstream(upstream_id=str(second.pk), scheme="http", address="backend", port=80),
        ),
        upstream_tls=UpstreamTLS(
            client_certificate=LEAF.chain_pem,
            client_key_spki_sha256=host.upstream_tls.client_key_spki_sha256,
            ca_certificate=CA.pem,
            skip_verify=True,
            server_name="orders.internal",
        ),
    )
    assert key is not None
    assert key.reveal() == LEAF.key_pem.encode()


def test_without_mtls_no_certificate_is_presented() -> None:
    """A stored pair stays with the control plane until mTLS is enabled; the rest of TLS applies anyway."""
    host = make_host(upstream_tls=mtls(enabled=False, server_name="orders.internal"))
    entry, key, *_ = compile_host(host, now=NOW)
    assert entry.upstream_tls == UpstreamTLS(server_name="orders.internal")
    assert key is None


def test_every_setting_of_upstream_tls_reaches_the_worker() -> None:
    """A field of the snapshot that nobody fills would leave a stored demand without effect."""
    settings: dict[str, Any] = {
        "ca_certificate": CA.pem,
        "skip_verify": True,
        "skip_verify_until": (until := datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)),
        "server_name": "orders.internal",
        "verify_name": "spiffe://example.org/orders",
        "min_version": "TLSv1.3",
        "max_version": "TLSv1.3",
        "ciphers": "ECDHE+AESGCM",
        "alpn": ("http/1.0",),
        "crl": pem(revocation_list(CA, now=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC))),
        "pinned_spki_sha256": ("ab" * 32,),
        "verify_depth": 2,
    }
    host = make_host(upstream_tls=mtls(**settings))
    entry, *_ = compile_host(Host.objects.get(pk=host.pk), now=NOW)
    untouched = [
        field.name
        for field in dataclasses.fields(UpstreamTLS)
        if getattr(entry.upstream_tls, field.name) == getattr(UpstreamTLS(), field.name)
    ]
    # The maximum cannot differ from its default without excluding the minimum.
    assert untouched == ["max_version"]
    compiled = {**settings, "skip_verify_until": until.timestamp()}
    assert {name: getattr(entry.upstream_tls, name) for name in settings} == compiled
    assert decode_entry(encode_entry(entry)) == entry


def test_the_same_rows_give_the_same_digest() -> None:
    """Whatever was written meanwhile; and every change of the configuration gives another one."""
    host = make_host(upstream_tls=mtls())

    def digest() -> str:
        return entry_digest(encode_entry(compile_host(Host.objects.get(pk=host.pk), now=NOW)[0]))

    before = digest()
    host.save()
    host.upstream_tls.save()
    assert digest() == before
    host.preserve_host = True
    host.save()
    assert digest() != before
    before = digest()
    host.websockets = False
    host.save()
    assert digest() != before


def test_a_host_without_configuration_gets_the_defaults() -> None:
    """Such a row can only come from outside; verification is on."""
    entry, key, *_ = compile_host(Host.objects.create(name="bare"), now=NOW)
    assert entry.upstream_tls == UpstreamTLS()
    assert key is None


def test_every_setting_of_traffic_reaches_the_worker() -> None:
    """A field of the snapshot that nobody fills would leave a stored setting without effect."""
    sections: dict[str, dict[str, float]] = {
        "timeouts": {field.name: 7.0 for field in dataclasses.fields(Deadlines)},
        "passive_health": {"max_failures": 7, "backoff_s": 7.0, "backoff_max_s": 8.0},
        "retries": {"max_attempts": 7, "budget_percent": 7, "budget_min_per_s": 7},
        "limits": {"max_body_bytes": 7},
    }
    host = make_host(
        access_log=False,
        load_balancing="ip_hash",
        upstreams=(UpstreamSpec(address="a", port=443, weight=7, backup=True, drain=True),),
        request_headers=(HeaderRuleSpec(action="set", name="X-Team", value="orders"),),
        response_headers=(HeaderRuleSpec(action="remove", name="Server"),),
        **sections,
    )
    entry, *_ = compile_host(Host.objects.get(pk=host.pk), now=NOW)
    assert (entry.access_log, entry.load_balancing) == (False, "ip_hash")
    assert entry.deadlines == Deadlines(**sections["timeouts"])
    assert entry.passive_health == PassiveHealth(max_failures=7, backoff_s=7.0, backoff_max_s=8.0)
    assert entry.retries == Retries(max_attempts=7, budget_percent=7, budget_min_per_s=7)
    assert entry.limits == HostLimits(max_body_bytes=7)
    (upstream,) = entry.upstreams
    assert (upstream.weight, upstream.backup, upstream.drain) == (7, True, True)
    assert entry.request_headers == (HeaderRule(action="set", name="X-Team", value="orders"),)
    assert entry.response_headers == (HeaderRule(action="remove", name="Server"),)
    assert decode_entry(encode_entry(entry)) == entry


def test_a_host_that_sets_nothing_gets_the_defaults_of_the_snapshot_byte_for_byte() -> None:
    """With a stored row and without one."""
    stored = make_host(upstreams=())
    bare = Host.objects.create(name="bare")
    for host, domains in ((stored, ("orders.example.com",)), (bare, ())):
        entry, *_ = compile_host(Host.objects.get(pk=host.pk), now=NOW)
        expected = HostEntry(host_id=str(host.pk), name=host.name, domains=domains)
        assert encode_entry(entry) == encode_entry(expected)


def test_a_certificate_for_clients_reaches_the_worker_with_its_key() -> None:
    """The key stands beside the entry and in it only by its fingerprint."""
    host = make_host(downstream_tls=site(force_https=True, hsts_max_age_s=600))
    entry, client_key, key, _ = compile_host(Host.objects.get(pk=host.pk), now=NOW)
    assert entry.downstream_tls == DownstreamTLS(
        certificate=SITE.chain_pem,
        key_spki_sha256=host.downstream_tls.key_spki_sha256,
        force_https=True,
        hsts_max_age_s=600,
    )
    assert client_key is None
    assert key is not None
    assert key.reveal() == SITE.key_pem.encode()
    assert "PRIVATE" not in encode_entry(entry)


def test_a_host_without_downstream_row_gets_the_defaults() -> None:
    """Hosts of an older version have no such row."""
    entry, _, key, _ = compile_host(Host.objects.create(name="bare"), now=NOW)
    assert (entry.downstream_tls, key) == (DownstreamTLS(), None)


def test_an_exception_from_verification_ends_with_its_date() -> None:
    """Whatever the row still says: no sweep is needed for a compile to be strict."""
    until = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
    host = make_host(upstream_tls=mtls(skip_verify=True, skip_verify_until=until))
    before = compile_host(host, now=until - datetime.timedelta(seconds=1))[0].upstream_tls
    assert (before.skip_verify, before.skip_verify_until) == (True, until.timestamp())
    after = compile_host(host, now=until)[0].upstream_tls
    assert (after.skip_verify, after.skip_verify_until) == (False, 0)


def test_an_exception_without_an_end_has_none_in_the_entry() -> None:
    """Only an operator ends it."""
    tls = compile_host(make_host(upstream_tls=mtls(skip_verify=True)), now=NOW)[0].upstream_tls
    assert (tls.skip_verify, tls.skip_verify_until) == (True, 0)


def test_secret_values_of_rules_stand_beside_the_entry() -> None:
    """In it only by their names."""
    host = make_host(request_headers=(HeaderRuleSpec(action="set", name="Authorization", value="Bearer canary"),))
    compiled = compile_host(Host.objects.get(pk=host.pk), now=NOW)
    (rule,) = compiled.entry.request_headers
    assert (rule.name, rule.value) == ("Authorization", "")
    assert "canary" not in encode_entry(compiled.entry)
    assert compiled.header_secrets is not None
    assert json.loads(compiled.header_secrets.reveal()) == {rule.secret: "Bearer canary"}
