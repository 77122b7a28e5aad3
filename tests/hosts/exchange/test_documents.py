"""The document of a host."""

import json

import pytest

from aegis_site.kernel.secrets import sealed_columns
from hosts.api.serializers import HostSerializer
from hosts.certificate_requests import request_certificate
from hosts.exchange.documents import HIDDEN, KEY_PLACES, Hidden, HostDocuments, comparable, masked
from hosts.exchange.sealing import PassphraseSealer
from hosts.models import DownstreamTLSConfiguration, Host, Upstream
from hosts.traffic_models import TrafficConfiguration
from tests.hosts.examples import LEAF, SITE, make_host
from tests.hosts.exchange.examples import PASSPHRASE, TOKEN, exported, make_secretive_host
from upstream_tls.certificate_requests import Wish
from upstream_tls.models import UpstreamTLSConfiguration

SECRETS = (LEAF.key_pem.splitlines()[2], SITE.key_pem.splitlines()[2], TOKEN)


@pytest.mark.django_db
def test_a_document_is_what_put_takes() -> None:
    """The serializer of PUT accepts it, and nothing but ids and the signs of secrets is only read."""
    make_host()
    document = exported()["hosts"][0]
    serializer = HostSerializer(data=document)
    assert serializer.is_valid(), serializer.errors
    writable = {name for name, field in serializer.fields.items() if not field.read_only}
    assert set(document) == writable | {"id"}
    assert document["upstream_tls"]["client_key_set"] is False


def test_every_sealed_column_of_a_host_has_its_place() -> None:
    """A secret that is new must not be forgotten: an export would lose it."""
    of_hosts = (UpstreamTLSConfiguration, DownstreamTLSConfiguration, TrafficConfiguration, Host, Upstream)
    columns = {(model._meta.model_name, column.attname) for model, column in sealed_columns() if model in of_hosts}
    keys = {("upstreamtlsconfiguration", "client_key"), ("downstreamtlsconfiguration", "key")}
    assert columns == keys | {("trafficconfiguration", "header_secrets")}
    assert len(keys) == len(KEY_PLACES)


@pytest.mark.django_db
def test_keys_that_wait_for_a_certificate_are_not_exported() -> None:
    """Neither in clear nor sealed, and nothing says that there are some."""
    host = make_host()
    before = exported(sealer=PassphraseSealer.for_export(PASSPHRASE))["hosts"]
    request_certificate(host=host, wish=Wish(common_name="orders"), user=None)
    assert exported(sealer=PassphraseSealer.for_export(PASSPHRASE))["hosts"] == before


@pytest.mark.django_db
def test_secrets_are_left_out() -> None:
    """It says that there are some; other header values stay."""
    make_secretive_host()
    document = exported()["hosts"][0]
    assert document["upstream_tls"]["client_key_set"] is document["downstream_tls"]["key_set"] is True
    assert document["request_headers"] == [
        {"action": "set", "name": "Authorization", "sensitive": True, "value_set": True},
        {"action": "set", "name": "X-Team", "value": "orders", "sensitive": False},
        {"action": "remove", "name": "Cookie", "value": "", "sensitive": False},
    ]
    assert not [secret for secret in SECRETS if secret in json.dumps(document)]


@pytest.mark.django_db
def test_sealed_secrets_show_nothing() -> None:
    """They stand beside the signs, in a field of their own."""
    make_secretive_host()
    document = exported(sealer=PassphraseSealer.for_export(PASSPHRASE))
    text = json.dumps(document)
    assert text.count("_sealed") == 3
    assert document["sealing"]["version"] == 1
    assert not [secret for secret in (*SECRETS, PASSPHRASE, "PRIVATE KEY") if secret in text]


@pytest.mark.django_db
def test_hosts_are_in_the_order_of_their_names() -> None:
    """So that two exports can be compared."""
    for name in ("b", "c", "a"):
        make_host(name)
    assert [host["name"] for host in exported()["hosts"]] == ["a", "b", "c"]


@pytest.mark.django_db
def test_comparable_documents_show_nothing() -> None:
    """Equal secrets are equal; what is shown of them is a mask."""
    make_secretive_host()
    host = Host.objects.with_configuration().get()
    first, second = (HostDocuments().document_of(host, comparable) for _ in range(2))
    assert first == second
    assert Hidden("a") != Hidden("b")
    assert not [secret for secret in SECRETS if secret in repr(first)]
    assert masked(first)["request_headers"][0]["value"] == HIDDEN
