"""What the database itself admits."""

import datetime
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from aegis_site.kernel.fields import Sealed
from hosts.models import Host
from tests.support.certificates import Authority
from tests.support.odd_certificates import pem, revocation_list
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

CA = Authority("Orders CA")
LEAF = Authority("Issuing CA", parent=CA).client("orders")


@pytest.mark.parametrize(
    "values",
    [
        {"enabled": True},
        {"enabled": True, "client_certificate": LEAF.chain_pem},
        {"client_key": Sealed.of("key")},
        {"client_key_spki_sha256": "00" * 32},
        {"min_version": "TLSv1.3", "max_version": "TLSv1.2"},
        {"min_version": "TLSv1.1"},
    ],
)
def test_what_no_host_may_have_is_refused_by_the_database(values: dict[str, Any]) -> None:
    """Half a pair enabled, a key without fingerprint, versions that exclude each other: whoever writes the table."""
    host = Host.objects.create(name="orders")
    with pytest.raises(IntegrityError), transaction.atomic():
        UpstreamTLSConfiguration.objects.create(host=host, **values)


def test_facts_come_from_the_stored_certificates() -> None:
    """Leaf first; nothing stored gives no facts."""
    configuration = UpstreamTLSConfiguration(client_certificate=LEAF.chain_pem, ca_certificate=CA.pem)
    assert [facts.subject for facts in configuration.client_certificate_facts] == ["CN=orders", "CN=Issuing CA"]
    assert [facts.subject for facts in configuration.ca_certificate_facts] == ["CN=Orders CA"]
    assert not configuration.has_client_key
    assert UpstreamTLSConfiguration().client_certificate_facts == UpstreamTLSConfiguration().ca_certificate_facts == ()


def test_revocation_lists_are_parsed() -> None:
    """None stored gives none."""
    stored = revocation_list(CA, now=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC))
    assert UpstreamTLSConfiguration(crl=pem(stored)).revocation_lists == (stored,)
    assert UpstreamTLSConfiguration().revocation_lists == ()


def test_the_configuration_goes_with_its_host() -> None:
    """Deleting a host deletes its secrets."""
    host = Host.objects.create(name="orders")
    UpstreamTLSConfiguration.objects.create(host=host)
    host.delete()
    assert not UpstreamTLSConfiguration.objects.exists()
