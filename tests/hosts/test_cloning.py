"""A new host like another one."""

import datetime

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from hosts.cloning import clone_host, free_name, has_secrets
from hosts.exchange.documents import HostDocuments, left_out
from hosts.models import Host
from tests.hosts.examples import LEAF, make_host, mtls
from tests.hosts.exchange.examples import TOKEN, make_secretive_host

pytestmark = pytest.mark.django_db


def read(host: Host) -> Host:
    return Host.objects.with_configuration().get(pk=host.pk)


def cloned(host: Host, *, with_secrets: bool, **values: str) -> Host:
    given = {"name": "copy", "domains": ["copy.example.com"], **values}
    return read(clone_host(host=read(host), with_secrets=with_secrets, user=None, **given))  # type: ignore[arg-type]


def test_a_copy_is_alike_and_disabled() -> None:
    """In all but its name, domains, HTTPS and ids; audited like a new host."""
    sections = {"health_check": {"enabled": True, "path": "/healthz"}}
    host = make_secretive_host(tags=("prod",), sections=sections, timeouts={"connect_s": 3.0})
    copy = cloned(host, with_secrets=True)
    documents = HostDocuments()
    was, now = (documents.document_of(each, left_out) for each in (read(host), copy))
    different = {name for name in was if was[name] != now[name]}
    assert different == {"id", "name", "domains", "enabled", "upstreams", "downstream_tls"}
    assert (now["enabled"], now["domains"], copy.downstream_configuration.certificate) == (
        False,
        ["copy.example.com"],
        "",
    )
    for upstream in (*was["upstreams"], *now["upstreams"]):
        del upstream["id"]
    assert was["upstreams"] == now["upstreams"]
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.target_name) == ("created", "copy")


def test_secrets_are_copied_when_asked_for() -> None:
    """Each sealed anew, for the row where it is."""
    host = make_secretive_host()
    copy = cloned(host, with_secrets=True)
    key, old = copy.upstream_configuration.client_key, read(host).upstream_configuration.client_key
    assert key is not None
    assert old is not None
    assert key.reveal() == LEAF.key_pem.encode()
    assert key.blob != old.blob
    secrets = copy.traffic_configuration.header_secrets
    assert secrets is not None
    assert TOKEN in secrets.reveal().decode()


def test_without_secrets_nothing_points_to_one() -> None:
    """mTLS is off, and the rule with the token is not there; others are."""
    host = make_secretive_host()
    assert has_secrets(read(host))
    copy = cloned(host, with_secrets=False)
    assert not has_secrets(copy)
    assert not copy.upstream_configuration.enabled
    assert copy.upstream_configuration.client_certificate == ""
    assert [rule["name"] for rule in copy.traffic_configuration.request_headers] == ["X-Team", "Cookie"]


def test_what_is_over_is_not_copied() -> None:
    """An exception from verification whose date is past would be refused."""
    now = timezone.now()
    host = make_host(upstream_tls=mtls(skip_verify=True, skip_verify_until=now + datetime.timedelta(days=1)))
    assert cloned(host, with_secrets=True).upstream_configuration.skip_verify
    over = now - datetime.timedelta(days=1)
    type(host.upstream_tls).objects.filter(host=host).update(skip_verify_until=over)
    copy = cloned(host, with_secrets=False, name="later", domains=["later.example.com"])  # type: ignore[arg-type]
    assert not copy.upstream_configuration.skip_verify


def test_what_two_hosts_cannot_share_is_refused() -> None:
    """At its field, all at once, and nothing is made."""
    host = make_host()
    with pytest.raises(ValidationError) as caught:
        clone_host(host=read(host), name="orders", domains=["orders.example.com"], with_secrets=False, user=None)
    assert set(caught.value.error_dict) == {"name", "domains"}
    assert Host.objects.count() == 1


def test_a_name_that_is_free() -> None:
    """Numbered when there is such a copy; never longer than a name may be."""
    host = make_host()
    assert free_name(host) == "Copy of orders"
    make_host("Copy of orders", domains=("a.example",))
    assert free_name(host) == "Copy 2 of orders"
    assert len(free_name(make_host("x" * 100, domains=("x.example",)))) == 100
