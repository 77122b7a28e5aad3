"""Which hosts stand in the way of retiring a CA."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hosts.authority_readiness import hosts_presenting
from hosts.models import Host
from hosts.services import install_issued_certificate
from hosts.snippets.identity import identity_of
from localca.hierarchy import HierarchyError, create_intermediate, create_root
from localca.retirement import readiness_of, retire_authority
from localca.services import ensure_authority
from tests.hosts.examples import make_host, mtls, site

pytestmark = pytest.mark.django_db


def test_a_host_is_ready_when_it_presents_a_certificate_of_the_new_ca() -> None:
    """By what it presents, and not by what was issued for it."""
    old = ensure_authority()
    host = make_host("orders", upstream_tls=mtls())
    make_host("foreign", upstream_tls=mtls(), downstream_tls=site())
    assert readiness_of(old).dependents == ()
    first = install_issued_certificate(host=host, user=None)
    intermediate = create_intermediate(user=None)
    create_root(user=None)
    (found,) = readiness_of(old).dependents
    assert (found.name, found.fingerprint_sha256) == ("host orders (client certificate)", first.fingerprint_sha256)
    assert found.path == f"/admin/hosts/host/{host.pk}/change/"
    assert readiness_of(intermediate).dependents == ()
    with pytest.raises(HierarchyError, match=r"host orders \(client certificate\) present its certificates"):
        retire_authority(authority=old, user=None)
    install_issued_certificate(host=host, user=None)
    assert readiness_of(old).dependents == ()


def test_what_it_costs() -> None:
    """One query, however many hosts there are."""
    old = ensure_authority()
    for name in ("one", "two", "three"):
        make_host(name, upstream_tls=mtls())
    with CaptureQueriesContext(connection) as queries:
        hosts_presenting([old])
    assert len(queries) == 1


def test_a_host_presents_the_intermediate_and_its_upstream_trusts_the_root() -> None:
    """The host stores the chain; what is to be installed on its upstream is the trust bundle's file."""
    root = ensure_authority()
    create_intermediate(user=None)
    host = make_host("orders", upstream_tls=mtls())
    record = install_issued_certificate(host=host, user=None)
    host = Host.objects.get(pk=host.pk)
    assert host.upstream_configuration.client_certificate == record.chain_pem
    identity = identity_of(host)
    assert identity is not None
    assert (identity.ca.file_name, identity.ca.text) == ("aegis-local-ca.crt", root.certificate_pem)
    assert identity.verify_depth == 2
    new = create_root(user=None)
    during_the_change = identity_of(host)
    assert during_the_change is not None
    assert during_the_change.ca.text == new.certificate_pem + root.certificate_pem
