"""Creating, changing and deleting hosts."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from hosts.drafts import MAX_DOMAINS, MAX_UPSTREAMS, clean_domains
from hosts.models import CompiledHost, Host
from hosts.services import (
    create_host,
    delete_host,
    delete_hosts,
    install_issued_certificate,
    update_host,
    write_domains,
)
from hosts.specs import HeaderRuleSpec, HostSpec, UpstreamSpec
from localca.models import IssuedCertificate
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls, spec
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.tls.credentials import check_pair, parse_chain, parse_key

pytestmark = pytest.mark.django_db


def errors_of(**changes: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        create_host(spec=spec(**changes), user=None)
    return caught.value.message_dict


def upstreams_of(host: Host) -> list[tuple[str, str]]:
    return [(str(upstream.pk), str(upstream)) for upstream in host.upstreams.all()]


def test_a_host_is_created_whole() -> None:
    """Domains and upstreams in order, the configuration beside them."""
    host = make_host(
        domains=("Orders.Example.com", "*.orders.example.com", "orders.example.com"),
        upstreams=(UpstreamSpec(address="[::1]", port=1), UpstreamSpec(address="b", port=2, scheme="http")),
        upstream_tls=mtls(),
    )
    host = Host.objects.get(pk=host.pk)
    assert [domain.name for domain in host.domains.all()] == ["orders.example.com", "*.orders.example.com"]
    assert [text for _, text in upstreams_of(host)] == ["https://[::1]:1", "http://b:2"]
    assert host.upstream_tls.client_key.reveal() == LEAF.key_pem.encode()


def test_all_errors_come_at_once_under_their_paths() -> None:
    """Nothing is stored then."""
    errors = errors_of(
        name="",
        domains=("bad domain", "-x"),
        upstreams=(UpstreamSpec(address="ok", port=1), UpstreamSpec(address="a b", port=0, scheme="ftp")),
        upstream_tls=mtls(client_key=OTHER_LEAF.key_pem, server_name="1.2.3.4"),
    )
    assert errors["domains"] == ["'bad domain' is not a domain name.", "'-x' is not a domain name."]
    assert errors["upstream_tls.client_key"] == ["tls: private key does not match public key"]
    assert set(errors) == {
        "name",
        "domains",
        "upstreams[1].address",
        "upstreams[1].port",
        "upstreams[1].scheme",
        "upstream_tls.client_key",
        "upstream_tls.server_name",
    }
    assert not Host.objects.exists()


def test_a_duplicate_domain_names_the_host_that_has_it() -> None:
    """As does a duplicate name its field."""
    make_host("orders")
    assert errors_of(name="orders", domains=("orders.example.com", "new.example.com")) == {
        "name": ["There is a host with this name already."],
        "domains": ["orders.example.com is already a domain of the host orders."],
    }


def test_a_host_needs_a_domain_and_not_too_many() -> None:
    """Nor too many upstreams."""
    assert errors_of(domains=()) == {"domains": ["Enter at least one domain."]}
    too_many = tuple(f"d{number}.example.com" for number in range(MAX_DOMAINS + 1))
    assert errors_of(domains=too_many) == {"domains": [f"A host has at most {MAX_DOMAINS} domains."]}
    upstreams = tuple(UpstreamSpec(address="a", port=1 + number) for number in range(MAX_UPSTREAMS + 1))
    assert errors_of(upstreams=upstreams) == {"upstreams": [f"A host has at most {MAX_UPSTREAMS} upstreams."]}


def test_an_update_changes_what_it_names() -> None:
    """All else stays, the secret too, and the host's version moves."""
    host = make_host(upstream_tls=mtls(), preserve_host=True, websockets=False)
    before = host.updated_at
    changed = update_host(host=host, spec=HostSpec(name="renamed"), user=None)
    assert changed.updated_at > before
    stored = Host.objects.get(pk=host.pk)
    assert (stored.name, stored.preserve_host, stored.websockets) == ("renamed", True, False)
    assert stored.upstream_tls.enabled
    assert stored.upstream_tls.client_key.reveal() == LEAF.key_pem.encode()
    assert stored.domains.count() == stored.upstreams.count() == 1


def test_an_empty_key_clears_the_stored_one() -> None:
    """Absent keeps, empty clears."""
    host = make_host(upstream_tls=mtls())
    changes = UpstreamTLSChanges(enabled=False, client_key="")
    update_host(host=host, spec=HostSpec(upstream_tls=changes), user=None)
    assert UpstreamTLSConfiguration.objects.get().client_key is None


def test_a_host_without_a_row_for_its_tls_can_be_changed() -> None:
    """Rows that were made some other way have none of the settings; an update makes one that says so."""
    host = make_host()
    UpstreamTLSConfiguration.objects.filter(host=host).delete()
    update_host(host=Host.objects.get(), spec=HostSpec(name="renamed"), user=None)
    assert not Host.objects.get(name="renamed").upstream_tls.enabled


def test_a_refused_update_leaves_no_trace() -> None:
    """Everything is checked before anything is written."""
    host = make_host()
    changes = HostSpec(name="renamed", domains=("new.example.com",), upstream_tls=UpstreamTLSChanges(enabled=True))
    with pytest.raises(ValidationError):
        update_host(host=host, spec=changes, user=None)
    stored = Host.objects.get(pk=host.pk)
    assert (stored.name, stored.updated_at) == ("orders", host.updated_at)
    assert [domain.name for domain in stored.domains.all()] == ["orders.example.com"]


def test_upstreams_keep_their_id_when_they_are_still_meant() -> None:
    """By id, also with another target; by target, when no id is given; others go and new ones come."""
    host = make_host(upstreams=tuple(UpstreamSpec(address=name, port=1) for name in ("a", "b", "c")))
    ids = [identifier for identifier, _ in upstreams_of(host)]
    specs = (
        UpstreamSpec(address="new", port=1),
        UpstreamSpec(address="c", port=1),
        UpstreamSpec(address="moved", port=2, upstream_id=uuid.UUID(ids[0])),
        UpstreamSpec(address="c", port=1),
        UpstreamSpec(address="x", port=1, upstream_id=uuid.uuid4()),
    )
    update_host(host=host, spec=HostSpec(upstreams=specs), user=None)
    stored = upstreams_of(Host.objects.get(pk=host.pk))
    assert [text for _, text in stored] == [
        "https://new:1",
        "https://c:1",
        "https://moved:2",
        "https://c:1",
        "https://x:1",
    ]
    assert [stored[1][0], stored[2][0]] == [ids[2], ids[0]]
    assert ids[1] not in dict(stored)


def test_an_upstream_of_another_host_is_not_taken() -> None:
    """An id that belongs elsewhere counts as new."""
    other = make_host("other")
    (foreign,) = other.upstreams.all()
    host = make_host("mine", upstreams=(UpstreamSpec(address="a", port=1, upstream_id=foreign.pk),))
    assert other.upstreams.get() == foreign
    assert host.upstreams.get() != foreign


def test_domains_are_reordered_and_unchanged_ones_keep_their_row() -> None:
    """The first domain names issued certificates, so order is kept."""
    host = make_host(domains=("a.example", "b.example", "c.example"))
    rows = dict(host.domains.values_list("name", "pk"))
    write_domains(host, ["c.example", "a.example", "d.example"])
    assert [domain.name for domain in host.domains.all()] == ["c.example", "a.example", "d.example"]
    assert host.domains.get(name="c.example").pk == rows["c.example"]


def test_own_domains_are_no_duplicates() -> None:
    """A host may repeat what it has."""
    host = make_host()
    assert clean_domains(["orders.example.com"], host_id=host.pk) == ["orders.example.com"]


def test_deleting_publishes_a_tombstone(django_capture_on_commit_callbacks: Any) -> None:
    """Also for several hosts at once."""
    with django_capture_on_commit_callbacks(execute=True):
        hosts = [make_host("a"), make_host("b"), make_host("c")]
    assert CompiledHost.objects.exclude(entry_json="").count() == 3
    with django_capture_on_commit_callbacks(execute=True):
        delete_host(host=hosts[0], user=None)
        delete_hosts(hosts=Host.objects.filter(name="b"), user=None)
    assert [row.name for row in CompiledHost.objects.exclude(entry_json="")] == ["c"]
    assert [host.name for host in Host.objects.all()] == ["c"]


def test_a_certificate_is_issued_and_installed_in_one_step(django_capture_on_commit_callbacks: Any) -> None:
    """Named for the first domain, recorded by the CA, enabled, published."""
    host = make_host(upstream_tls=UpstreamTLSChanges(server_name="orders.internal", ca_certificate=CA.pem))
    with django_capture_on_commit_callbacks(execute=True):
        record = install_issued_certificate(host=host, user=None)
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    assert configuration.enabled
    assert (configuration.server_name, configuration.ca_certificate) == ("orders.internal", CA.pem)
    assert record == IssuedCertificate.objects.get()
    assert (record.subject, record.issued_for) == ("CN=orders.example.com", "host orders")
    check_pair(parse_chain(configuration.client_certificate.encode()), parse_key(configuration.client_key.reveal()))
    assert CompiledHost.objects.get().source_updated_at == host.updated_at


def test_a_domain_too_long_for_a_common_name_gives_way_to_the_hosts_name() -> None:
    """A common name has 64 characters at most."""
    host = make_host("n" * 100, domains=(".".join(["x" * 40] * 3),))
    assert install_issued_certificate(host=host, user=None).subject == "CN=" + "n" * 64


def test_each_service_leaves_one_entry() -> None:
    """Who did what to which fields; nothing of a secret."""
    user = User.objects.create_user("operator")
    host = create_host(spec=spec(upstream_tls=mtls()), user=user)
    update_host(host=host, spec=HostSpec(name="renamed", upstream_tls=mtls(client_key_passphrase="canary")), user=user)
    install_issued_certificate(host=host, user=user)
    delete_host(host=host, user=user)
    entries = list(AuditEntry.objects.filter(target_type="host", target_id=str(host.pk), user=user).order_by("pk"))
    assert [entry.action for entry in entries] == ["created", "changed", "issued", "deleted"]
    assert entries[1].changes == [{"field": "name", "before": "orders", "after": "renamed"}]
    assert [change["field"] for change in entries[2].changes] == [
        "upstream_tls.client_certificate",
        "upstream_tls.client_key_spki_sha256",
    ]
    assert not any("PRIVATE" in str(entry.changes) or "canary" in str(entry.changes) for entry in entries)


def test_a_changed_header_value_is_seen_and_not_told() -> None:
    """It may be a token; other traffic settings stand under their path."""
    host = create_host(spec=spec(), user=None)
    rule = HeaderRuleSpec(action="set", name="X-Token", value="canary")
    changes = HostSpec(load_balancing="ip_hash", timeouts={"connect_s": 1.5}, request_headers=(rule,))
    update_host(host=host, spec=changes, user=None)
    entry = AuditEntry.objects.get(action="changed")
    assert [change["field"] for change in entry.changes] == [
        "load_balancing",
        "timeouts.connect_s",
        "request_headers[0]",
    ]
    assert "canary" not in repr(changes) + str(entry.changes)


def test_who_is_not_signed_in_is_nobody() -> None:
    """Services may run without a person; the entry is there all the same."""
    create_host(spec=spec(), user=AnonymousUser())
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.user_name, entry.origin) == (None, "", "system")


def test_a_host_and_its_upstreams_bring_their_ids() -> None:
    """When it had them elsewhere, as in an import."""
    host_id, upstream_id = uuid.uuid4(), uuid.uuid4()
    upstream = UpstreamSpec(address="a", port=1, upstream_id=upstream_id, brings_id=True)
    host = create_host(spec=spec(upstreams=(upstream,)), user=None, host_id=host_id)
    assert (host.pk, host.upstreams.get().pk) == (host_id, upstream_id)
