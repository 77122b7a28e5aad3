"""What the database itself admits."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from aegis_site.kernel.fields import Sealed
from hosts.models import Host
from tests.support.certificates import Authority
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
    ],
)
def test_half_a_pair_cannot_be_enabled_nor_a_key_be_without_fingerprint(values: dict[str, Any]) -> None:
    """The invariants hold for whoever writes the table."""
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


def test_the_configuration_goes_with_its_host() -> None:
    """Deleting a host deletes its secrets."""
    host = Host.objects.create(name="orders")
    UpstreamTLSConfiguration.objects.create(host=host)
    host.delete()
    assert not UpstreamTLSConfiguration.objects.exists()
