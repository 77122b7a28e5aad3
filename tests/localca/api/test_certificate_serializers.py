"""The documents about issued certificates: what is asked for, and who gets the key in which form."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from localca.api.certificate_serializers import (
    CertificateOrderSerializer,
    CertificateRenewalSerializer,
    IssuedCertificateSerializer,
    key_document,
    order_of,
)
from localca.keys import KeyType
from localca.models import Purpose
from localca.orders import Order
from localca.services import issue_client_certificate

pytestmark = pytest.mark.django_db


def test_an_order_with_all_that_is_usual() -> None:
    """What is left out has its default."""
    serializer = CertificateOrderSerializer(data={"purpose": "client", "include_private_key": True})
    assert serializer.is_valid(), serializer.errors
    assert order_of(serializer.validated_data) == Order(purpose=Purpose.CLIENT, key_type=KeyType.EC_P256)


def test_a_renewal_that_nobody_could_use() -> None:
    """Without a signing request the key has to be asked for."""
    serializer = CertificateRenewalSerializer(data={"revoke_old": True})
    assert not serializer.is_valid()
    assert list(serializer.errors) == ["include_private_key"]


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({}, set()),
        ({"include_private_key": False}, set()),
        ({"include_private_key": True}, {"private_key"}),
        ({"include_private_key": True, "format": "pkcs12", "passphrase": "correct horse"}, {"pkcs12"}),
    ],
)
def test_who_gets_the_key(document: dict[str, Any], names: set[str]) -> None:
    """Who asked, in the form that was asked for, and nobody else."""
    assert set(key_document(issue_client_certificate(common_name="orders"), document)) == names


def test_both_forms_hold_the_same_key() -> None:
    """PEM and PKCS#12 open to the private key of the certificate; the CA's own is in the file as well."""
    bundle = issue_client_certificate(common_name="orders")
    wishes = {"include_private_key": True, "passphrase": "correct horse"}
    pem = key_document(bundle, wishes)["private_key"].encode()
    content = base64.b64decode(key_document(bundle, wishes | {"format": "pkcs12"})["pkcs12"])
    file = pkcs12.load_pkcs12(content, b"correct horse")
    key = file.key
    assert key is not None
    assert [extra.certificate for extra in file.additional_certs] == [bundle.record.authority.certificate]
    expected = bundle.record.certificate.public_key()
    assert load_pem_private_key(pem, password=b"correct horse").public_key() == key.public_key() == expected


def test_a_row_alone_shows_no_key() -> None:
    """The document of an issuance has a key only when the view handed it over."""
    record = issue_client_certificate(common_name="orders").record
    assert not {"private_key", "pkcs12"} & set(IssuedCertificateSerializer(record).data)
