"""Questions about upstream TLS configurations."""

import datetime
from typing import Any

import pytest
from django.utils import timezone

from localca.selectors import active_authority
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from tests.support.certificates import Authority, expired
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.selectors import (
    acceptable_identities,
    exceptions_in_force,
    exceptions_over,
    host_names_by_key,
    known_certificates,
    local_authorities,
    warnings_of,
)

pytestmark = pytest.mark.django_db


def codes_of(configuration: UpstreamTLSConfiguration) -> list[str]:
    found = warnings_of(
        configuration,
        host_name=configuration.host.name,
        sharing=host_names_by_key([configuration]),
        known=local_authorities(),
        now=timezone.now(),
    )
    return [warning.code for warning in found]


def test_exceptions_in_force(django_assert_num_queries: Any) -> None:
    """Of hosts that are on, those without an end first; one whose date is over means nothing any more."""
    now = timezone.now()
    hour = datetime.timedelta(hours=1)
    for name, until in (("later", now + 2 * hour), ("soon", now + hour), ("over", now - hour), ("endless", None)):
        skipping = UpstreamTLSChanges(skip_verify=True, skip_verify_reason="x")
        host = make_host(name, upstream_tls=skipping)
        UpstreamTLSConfiguration.objects.filter(host=host).update(skip_verify_until=until)
    make_host("off", enabled=False, upstream_tls=UpstreamTLSChanges(skip_verify=True, skip_verify_reason="x"))
    make_host("verified")
    with django_assert_num_queries(1):
        names = [configuration.host.name for configuration in exceptions_in_force(now)]
    assert names == ["endless", "soon", "later"]


def test_hosts_with_the_same_key_are_found_in_one_query(django_assert_num_queries: Any) -> None:
    """Of those that present it; a stored pair that is not enabled is presented to nobody."""
    orders = make_host("orders", upstream_tls=mtls())
    make_host("billing", upstream_tls=mtls())
    make_host("off", upstream_tls=mtls(enabled=False))
    make_host("other", upstream_tls=mtls(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem))
    configurations = [orders.upstream_tls, make_host("plain").upstream_tls]
    with django_assert_num_queries(1):
        names = host_names_by_key(configurations)
    assert names == {orders.upstream_tls.client_key_spki_sha256: ["billing", "orders"]}


def test_warnings_of_what_is_stored() -> None:
    """A shared certificate and a leaf among the CAs; a plain host has none."""
    make_host("billing", upstream_tls=mtls())
    host = make_host("orders", upstream_tls=mtls(ca_certificate=CA.pem + LEAF.chain_pem))
    assert codes_of(host.upstream_tls) == ["shared_certificate", "leaf_as_ca"]
    assert codes_of(make_host("plain").upstream_tls) == []


def test_an_intermediate_in_the_bundle_is_missed_in_the_chain() -> None:
    """What is stored is judged together."""
    issuing = Authority("Issuing CA", parent=CA)
    leaf = issuing.client("orders")
    only_leaf = leaf.chain_pem[: leaf.chain_pem.index("-----END") + len("-----END CERTIFICATE-----\n")]
    changes = mtls(client_certificate=only_leaf, client_key=leaf.key_pem, ca_certificate=issuing.pem)
    assert codes_of(make_host(upstream_tls=changes).upstream_tls) == ["missing_intermediate"]


def test_the_local_authority_is_known() -> None:
    """Once there is one."""
    assert local_authorities() == ()
    ensure_authority()
    authority = active_authority()
    assert authority is not None
    assert local_authorities() == (authority.certificate,)


def test_an_empty_configuration_has_no_warnings() -> None:
    """Nor does one that only names a server."""
    host = make_host(upstream_tls=UpstreamTLSChanges(server_name="orders.internal"))
    assert codes_of(host.upstream_tls) == []


def test_known_certificates_are_of_the_local_ca_and_of_every_bundle(django_assert_num_queries: Any) -> None:
    """A bundle that several hosts have counts once."""
    authority = ensure_authority()
    other = Authority("Other CA")
    for name, pem in (("a", CA.pem), ("b", CA.pem), ("c", other.pem), ("d", "")):
        make_host(name, upstream_tls=UpstreamTLSChanges(ca_certificate=pem))
    with django_assert_num_queries(2):
        known = known_certificates()
    assert len(known) == 3
    assert authority.certificate in known
    assert other.certificate in known


def test_identities_that_an_upstream_accepts(django_assert_num_queries: Any) -> None:
    """Those of the CAs it lists that are not over, and the local CA; a list without names tells nothing."""
    local = ensure_authority().certificate.subject.rfc4514_string()
    over = CA.client("over", **expired())
    make_host("orders", upstream_tls=mtls())
    make_host("over", upstream_tls=mtls(client_certificate=over.chain_pem, client_key=over.key_pem))
    now = timezone.now()
    with django_assert_num_queries(2):
        found = acceptable_identities(("CN=Orders CA", local), now=now)
    assert found == ("CN=orders client of host orders", "any that the local CA issues")
    assert acceptable_identities(("CN=Somebody",), now=now) == ()
    assert acceptable_identities((), now=now) == ()


def test_an_exception_without_an_end_is_warned_of() -> None:
    """One with an end is not."""
    until = timezone.now() + datetime.timedelta(days=1)
    endless = make_host("endless", upstream_tls=UpstreamTLSChanges(skip_verify=True))
    ending = make_host("ending", upstream_tls=UpstreamTLSChanges(skip_verify=True, skip_verify_until=until))
    assert codes_of(endless.upstream_tls) == ["skip_verify_without_end"]
    assert codes_of(ending.upstream_tls) == []
    assert not exceptions_over(until - datetime.timedelta(seconds=1))
    assert [found.host for found in exceptions_over(until)] == [ending]
