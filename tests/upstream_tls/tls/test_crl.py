"""Reading revocation lists."""

import datetime

import pytest

from tests.support.certificates import Authority
from tests.support.odd_certificates import pem, revocation_list
from upstream_tls.tls.crl import crls_to_pem, parse_crls
from upstream_tls.tls.pem import CredentialProblem

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
CA = Authority("Orders CA")
LIST = revocation_list(CA, 7, now=NOW)
OTHER_LIST = revocation_list(Authority("Other CA"), now=NOW)
KEY_PEM = CA.client().key_pem


def test_lists_are_read_and_written() -> None:
    """Several in one text, with anything between them, back to canonical PEM."""
    crls = parse_crls(f"# ours\r\n{pem(LIST)}\n# theirs\n{pem(OTHER_LIST)}".encode())
    assert [crl.issuer for crl in crls] == [LIST.issuer, OTHER_LIST.issuer]
    assert len(crls[0]) == 1
    assert crls_to_pem(crls) == pem(LIST, OTHER_LIST)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "bad_pem", "This is not PEM: the line -----BEGIN X509 CRL----- is missing."),
        (CA.pem, "bad_pem", "This holds a CERTIFICATE: only revocation lists belong here."),
        (KEY_PEM, "pem_swapped", "This holds a private key: only revocation lists belong here."),
        (pem(LIST)[:150] + pem(LIST)[214:], "bad_pem", "Revocation list 1 is damaged or incomplete."),
        (pem(LIST) + pem(LIST).replace("M", "N", 1), "bad_pem", "Revocation list 2 is damaged or incomplete."),
    ],
)
def test_what_is_no_list_is_named(text: str, code: str, message: str) -> None:
    """By what it is, or by its number."""
    with pytest.raises(CredentialProblem) as caught:
        parse_crls(text.encode())
    assert (caught.value.code, caught.value.message) == (code, message)
