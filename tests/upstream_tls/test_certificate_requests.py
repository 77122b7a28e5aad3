"""What another CA is asked, and what is taken from it."""

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.core.exceptions import ValidationError

from localca.keys import KeyType, generate_key
from localca.signing_requests import read_signing_request
from tests.support.certificates import SERVER, Authority, expired, not_yet_valid
from tests.support.signing_requests import signed_by
from upstream_tls.certificate_requests import Wish, check_signed, content_of, sign_request
from upstream_tls.tls.credentials import key_spki_sha256

CA = Authority("Other CA")
ISSUING = Authority("Other issuing CA", parent=CA)
KEY = generate_key()
CSR = sign_request(content_of(Wish(common_name="orders")), KEY)
NOW = datetime.datetime.now(datetime.UTC)


def check(chain_pem: str, now: datetime.datetime = NOW) -> list[str | None]:
    """The codes of what is wrong."""
    try:
        check_signed(chain_pem, key_spki_sha256=key_spki_sha256(KEY), now=now)
    except ValidationError as error:
        return [problem.code for problem in error.error_dict["certificate"]]
    return []


@pytest.mark.parametrize("key_type", [kind for kind in KeyType if kind != KeyType.RSA_4096])
def test_a_request_proves_its_key_and_asks_for_a_client(key_type: KeyType) -> None:
    """Subject in the usual order, names, key usage and extended key usage; signed with the key."""
    wish = Wish(
        common_name="orders.example.com",
        subject_alt_names=("DNS:orders.example.com", "IP:10.0.0.7", "URI:spiffe://example.org/orders"),
        organization="Orders Ltd",
        organizational_unit="Shipping",
        country="de",
    )
    found = read_signing_request(sign_request(content_of(wish), generate_key(key_type)))
    assert found.key_type == key_type
    assert found.request.subject.rfc4514_string() == "CN=orders.example.com,OU=Shipping,O=Orders Ltd,C=DE"
    assert found.subject_alt_names() == wish.subject_alt_names
    extensions = found.request.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


@pytest.mark.parametrize(
    ("common_name", "names", "expected"),
    [
        ("orders.example.com", None, ("DNS:orders.example.com",)),
        ("*.example.com", None, ("DNS:*.example.com",)),
        ("the orders service", None, ()),
        ("10.0.0.7", None, ()),
        ("orders.example.com", (), ()),
        ("orders.example.com", ("DNS:other.example.com",), ("DNS:other.example.com",)),
    ],
)
def test_the_names_that_are_asked_for(common_name: str, names: Any, expected: tuple[str, ...]) -> None:
    """Left out, they are the common name when that is a DNS name; none is none."""
    content = content_of(Wish(common_name=common_name, subject_alt_names=names))
    assert read_signing_request(sign_request(content, KEY)).subject_alt_names() == expected


def test_all_errors_of_a_wish_come_at_once() -> None:
    """Each at its field."""
    wish = Wish(
        common_name="x" * 65,
        subject_alt_names=("orders", "DNS:..", "URI:nothing"),
        organization="o" * 65,
        organizational_unit="two\nlines",
        country="D1",
    )
    with pytest.raises(ValidationError) as caught:
        content_of(wish)
    codes = {name: [problem.code for problem in problems] for name, problems in caught.value.error_dict.items()}
    assert codes == {
        "country": ["invalid"],
        "organization": ["max_length"],
        "organizational_unit": ["invalid"],
        "common_name": ["max_length"],
        "subject_alt_names": ["invalid"] * 3,
    }


def test_what_was_signed_for_the_key_is_taken() -> None:
    """In whatever order, with intermediates, root and strangers beside it; without any usage as well."""
    assert check(signed_by(CA, CSR)) == []
    assert check(CA.pem + ISSUING.pem + signed_by(ISSUING, CSR)) == []
    assert check(CA.client("stranger").chain_pem + signed_by(CA, CSR)) == []
    assert check(signed_by(CA, CSR, usages=())) == []


@pytest.mark.parametrize(
    ("chain_pem", "codes"),
    [
        (CA.client("another key").chain_pem, ["key_mismatch"]),
        (CA.pem, ["key_mismatch"]),
        (signed_by(CA, CSR, usages=SERVER), ["no_client_auth"]),
        (signed_by(CA, CSR, **expired()), ["expired"]),
        (signed_by(CA, CSR, **not_yet_valid()), ["not_yet_valid"]),
        (signed_by(CA, CSR, is_ca=True), ["ca_as_leaf"]),
        (signed_by(CA, CSR, is_ca=True, usages=SERVER, **expired()), ["ca_as_leaf", "no_client_auth", "expired"]),
        (CSR, ["bad_pem"]),
        ("", ["bad_pem"]),
        ("\ud800", ["bad_pem"]),
        (CA.client("with key").key_pem, ["pem_swapped"]),
    ],
)
def test_what_no_upstream_would_take_is_refused(chain_pem: str, codes: list[str]) -> None:
    """All that is wrong, at the field; no text has more of the input than a name."""
    assert check(chain_pem) == codes
