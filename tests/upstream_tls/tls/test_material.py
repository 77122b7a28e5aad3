"""Specs that no session can be opened with: refused by the builder, with code and field."""

import datetime

import pytest

from upstream_tls.tls.context import build_context
from upstream_tls.tls.material import SpecProblem
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import PKI, Wrong, rsa_key


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of the builder", datetime.datetime.now(datetime.UTC))


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"client_chain_pem": b"nonsense"}, "bad_pem", "client_certificate"),
        ({"client_key_pem": b""}, "client_certificate_missing", "client_key"),
        ({"client_chain_pem": b""}, "client_certificate_missing", "client_certificate"),
        ({"client_key_pem": b"nonsense"}, "bad_pem", "client_key"),
        ({"ca_pem": b"nonsense"}, "bad_pem", "ca_certificate"),
        ({"crl_pem": b"nonsense"}, "bad_pem", "crl"),
        ({"ciphers": "NO-SUCH-CIPHER"}, "bad_ciphers", "ciphers"),
        ({"ciphers": "\x00é"}, "bad_ciphers", "ciphers"),
        ({"min_version": "TLSv1.1"}, "bad_tls_version", "min_version"),
        ({"max_version": "SSLv3"}, "bad_tls_version", "max_version"),
        ({"min_version": "TLSv1.3", "max_version": "TLSv1.2"}, "bad_tls_version", "min_version"),
        ({"alpn": ("",)}, "bad_alpn", "alpn"),
        ({"alpn": ("x" * 256,)}, "bad_alpn", "alpn"),
        ({"pinned_spki_sha256": ("AA",)}, "bad_pin", "pinned_spki_sha256"),
        ({"verify_depth": -1}, "bad_verify_depth", "verify_depth"),
        ({"verify_depth": 2**40}, "bad_verify_depth", "verify_depth"),
        ({"server_name": "a b"}, "bad_name", "server_name"),
        ({"server_name": "bücher.test"}, "bad_name", "server_name"),
        ({"server_name": "spiffe://a/b"}, "bad_name", "server_name"),
        ({"verify_name": "x" * 254}, "bad_name", "verify_name"),
    ],
)
def test_refused_spec_is_a_problem_with_code_and_field(
    pki: PKI, changes: dict[str, object], code: str, field: str
) -> None:
    """Whatever OpenSSL would refuse: never a raw SSL.Error, never a context."""
    with pytest.raises(SpecProblem) as problem:
        build_context(settings(pki, **changes))
    assert (problem.value.code, problem.value.field) == (code, field)


def test_key_of_another_certificate_is_refused(pki: PKI) -> None:
    """Code, field and Go's words."""
    with pytest.raises(SpecProblem, match="private key does not match public key") as problem:
        build_context(settings(pki, client_key_pem=pki.server("another").key_pem))
    assert (problem.value.code, problem.value.field) == ("key_mismatch", "client_key")


def test_weak_key_in_the_client_chain_is_a_problem_and_no_failed_handshake(pki: PKI) -> None:
    """OpenSSL takes the chain and ends each handshake with "internal error"."""
    issuer = pki.authority("Weak CA", issuer=pki.clients_root, wrong=Wrong(key=rsa_key(1024)))
    with pytest.raises(SpecProblem) as problem:
        build_context(settings(pki, client=pki.client(issuer=issuer)))
    assert (problem.value.code, problem.value.field) == ("weak_key", "client_certificate")
