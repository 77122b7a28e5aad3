"""Checking and applying changes."""

import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from django.core.exceptions import ValidationError
from django.utils import timezone

from aegis_site.kernel.fields import Sealed
from tests.support.certificates import Authority, expired
from tests.support.odd_certificates import pem, revocation_list
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.client_pair import KEY_TAKEN
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes, spec_of
from upstream_tls.tls.credentials import key_spki_sha256, parse_key
from upstream_tls.tls.spec import UpstreamTLSSpec

CA = Authority("Orders CA")
LEAF = CA.client("orders")
OTHER = CA.client("other")
LIST = revocation_list(CA, now=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC))


def stored(**values: Any) -> UpstreamTLSConfiguration:
    """A configuration with LEAF's pair."""
    fingerprint = key_spki_sha256(parse_key(LEAF.key_pem.encode()))
    return UpstreamTLSConfiguration(
        **{
            "enabled": True,
            "client_certificate": LEAF.chain_pem,
            "client_key": Sealed.of(LEAF.key_pem),
            "client_key_spki_sha256": fingerprint,
            **values,
        }
    )


def errors_of(configuration: UpstreamTLSConfiguration, **changes: Any) -> dict[str, list[tuple[str, str]]]:
    with pytest.raises(ValidationError) as caught:
        apply_changes(configuration, UpstreamTLSChanges(**changes))
    return {
        name: [(problem.code, problem.message) for problem in problems]
        for name, problems in caught.value.error_dict.items()
    }


def test_a_whole_configuration_is_applied() -> None:
    """Certificates become canonical PEM, the key unencrypted PKCS#8 under the field's seal."""
    configuration = UpstreamTLSConfiguration()
    changes = UpstreamTLSChanges(
        enabled=True,
        client_certificate="# ours\r\n" + LEAF.chain_pem.replace("\n", "\r\n"),
        client_key=LEAF.encrypted_key_pem("a secret"),
        client_key_passphrase="a secret",
        ca_certificate="\n" + CA.pem,
        skip_verify=True,
        server_name="Orders.Internal",
    )
    apply_changes(configuration, changes)
    assert configuration.enabled
    assert configuration.skip_verify
    assert configuration.client_certificate == LEAF.chain_pem
    assert configuration.client_key.reveal() == LEAF.key_pem.encode()
    assert configuration.ca_certificate == CA.pem
    assert configuration.server_name == "orders.internal"


def test_what_is_not_named_stays() -> None:
    """No change at all keeps a valid configuration as it is."""
    configuration = stored(server_name="orders.internal", ca_certificate=CA.pem)
    apply_changes(configuration, UpstreamTLSChanges())
    assert configuration.client_key.reveal() == LEAF.key_pem.encode()
    assert configuration.server_name == "orders.internal"
    assert configuration.ca_certificate == CA.pem


def test_an_empty_text_clears() -> None:
    """Certificate, key and CA go together with their fingerprint."""
    configuration = stored(ca_certificate=CA.pem)
    changes = UpstreamTLSChanges(enabled=False, client_certificate=" ", client_key="", ca_certificate="")
    apply_changes(configuration, changes)
    assert (configuration.client_certificate, configuration.ca_certificate) == ("", "")
    assert configuration.client_key is None
    assert configuration.client_key_spki_sha256 == ""


def test_enabling_needs_certificate_and_key() -> None:
    """Each missing part has its error at its own field; both have the documented code."""
    code = "client_certificate_missing"
    assert errors_of(UpstreamTLSConfiguration(), enabled=True) == {
        "client_certificate": [(code, "Enable mTLS needs a client certificate.")],
        "client_key": [(code, "Enable mTLS needs the client certificate's private key.")],
    }
    assert errors_of(stored(), client_key="") == {
        "client_key": [(code, "Enable mTLS needs the client certificate's private key.")]
    }


def test_the_key_must_match_in_whatever_order_the_two_arrive() -> None:
    """A new key against a new or stored certificate, and a new certificate against the stored key."""
    mismatch = {"client_key": [("key_mismatch", "tls: private key does not match public key")]}
    assert (
        errors_of(UpstreamTLSConfiguration(), client_certificate=LEAF.chain_pem, client_key=OTHER.key_pem) == mismatch
    )
    assert errors_of(stored(), client_key=OTHER.key_pem) == mismatch
    assert errors_of(stored(), client_certificate=OTHER.chain_pem) == mismatch


def test_a_stored_key_is_not_opened_to_be_compared() -> None:
    """Changing the certificate works on the key's fingerprint, also when the keyring has lost the key."""
    configuration = stored(client_key=Sealed(blob=b"cannot be opened"))
    apply_changes(configuration, UpstreamTLSChanges(client_certificate=LEAF.chain_pem))


def test_all_errors_come_at_once() -> None:
    """Every field says what is wrong with it, and comparing adds no noise."""
    errors = errors_of(
        UpstreamTLSConfiguration(),
        enabled=True,
        client_certificate=LEAF.key_pem,
        client_key=LEAF.chain_pem,
        ca_certificate="no PEM",
        server_name="10.0.0.7",
    )
    assert {name: [code for code, _ in problems] for name, problems in errors.items()} == {
        "client_certificate": ["pem_swapped"],
        "client_key": ["pem_swapped"],
        "ca_certificate": ["bad_pem"],
        "server_name": ["invalid"],
    }


def test_an_expired_certificate_can_be_stored() -> None:
    """Time is not judged here: an operator may prepare, and a host must stay editable after its certificate expired."""
    leaf = CA.client("old", **expired())
    apply_changes(
        UpstreamTLSConfiguration(),
        UpstreamTLSChanges(enabled=True, client_certificate=leaf.chain_pem, client_key=leaf.key_pem),
    )


def test_texts_that_are_no_utf_8_are_refused_as_any_other() -> None:
    """JSON can carry lone surrogates."""
    errors = errors_of(UpstreamTLSConfiguration(), client_key="\ud800", client_certificate="\ud800")
    assert [problems[0][0] for problems in errors.values()] == ["bad_pem", "bad_pem"]


ADVANCED: dict[str, Any] = {
    "verify_name": "spiffe://Example.org/orders",
    "min_version": "TLSv1.3",
    "max_version": "TLSv1.3",
    "ciphers": "ECDHE+AESGCM",
    "alpn": ("http/1.1", "http/1.0"),
    "crl": "# list\n" + pem(LIST),
    "pinned_spki_sha256": ("AB" * 32,),
    "verify_depth": 2,
}


def test_advanced_settings_are_cleaned() -> None:
    """Each in the spelling in which it is stored."""
    configuration = UpstreamTLSConfiguration()
    apply_changes(configuration, UpstreamTLSChanges(**ADVANCED))
    assert configuration.verify_name == "spiffe://example.org/orders"
    assert (configuration.min_version, configuration.max_version) == ("TLSv1.3", "TLSv1.3")
    assert configuration.ciphers == "ECDHE+AESGCM"
    assert configuration.alpn == ["http/1.1", "http/1.0"]
    assert configuration.crl == pem(LIST)
    assert configuration.pinned_spki_sha256 == ["ab" * 32]
    assert configuration.verify_depth == 2
    apply_changes(configuration, UpstreamTLSChanges(crl=" ", alpn=(), pinned_spki_sha256=(), verify_depth=None))
    assert (configuration.crl, configuration.alpn, configuration.pinned_spki_sha256) == ("", [], [])
    assert configuration.verify_depth is None


def test_errors_of_advanced_settings_come_with_all_the_others() -> None:
    """Each at its own field; a range of versions is judged when both are versions."""
    errors = errors_of(
        UpstreamTLSConfiguration(),
        enabled=True,
        client_certificate=LEAF.chain_pem,
        client_key=OTHER.key_pem,
        verify_name="a b",
        min_version="TLSv1.1",
        ciphers="nonsense",
        alpn=("h2",),
        crl=CA.pem,
        pinned_spki_sha256=("x",),
        verify_depth=99,
    )
    assert set(errors) == {
        "client_key",
        "verify_name",
        "min_version",
        "ciphers",
        "alpn",
        "crl",
        "pinned_spki_sha256",
        "verify_depth",
    }
    stored_range = stored(min_version="TLSv1.3")
    assert errors_of(stored_range, max_version="TLSv1.2") == {
        "max_version": [("invalid", "The maximum, TLSv1.2, is below the minimum, TLSv1.3.")]
    }


def test_what_was_put_right_is_said() -> None:
    """To whoever asks, also when something else is wrong."""
    combined = {"enabled": True, "client_certificate": LEAF.key_pem + LEAF.chain_pem}
    configuration, notices = UpstreamTLSConfiguration(), []
    apply_changes(configuration, UpstreamTLSChanges(**combined), notices=notices)
    assert notices == [KEY_TAKEN]
    assert configuration.client_key.reveal() == LEAF.key_pem.encode()
    with pytest.raises(ValidationError):
        apply_changes(configuration, UpstreamTLSChanges(**combined, server_name="a b"), notices=notices)
    assert notices == [KEY_TAKEN] * 2


def test_a_pkcs12_file_replaces_the_stored_pair() -> None:
    """Certificate, key and fingerprint together; an error leaves them as they were."""
    content = pkcs12.serialize_key_and_certificates(None, OTHER.key, OTHER.certificate, None, NoEncryption())
    configuration = stored()
    apply_changes(configuration, UpstreamTLSChanges(client_pkcs12=content))
    assert configuration.client_certificate == OTHER.chain_pem
    assert configuration.client_key.reveal() == OTHER.key_pem.encode()
    unchanged = stored()
    assert list(errors_of(unchanged, client_pkcs12=b"rubbish")) == ["client_pkcs12"]
    assert unchanged.client_certificate == LEAF.chain_pem


def test_a_spec_says_the_same_as_the_configuration() -> None:
    """For stored and for candidate ones; every field of the spec has its counterpart."""
    configuration = stored(ca_certificate=CA.pem, skip_verify=True, server_name="orders.internal")
    apply_changes(configuration, UpstreamTLSChanges(**ADVANCED))
    assert spec_of(configuration) == UpstreamTLSSpec(
        client_chain_pem=LEAF.chain_pem.encode(),
        client_key_pem=LEAF.key_pem.encode(),
        ca_pem=CA.pem.encode(),
        skip_verify=True,
        server_name="orders.internal",
        verify_name="spiffe://example.org/orders",
        min_version="TLSv1.3",
        max_version="TLSv1.3",
        ciphers="ECDHE+AESGCM",
        alpn=("http/1.1", "http/1.0"),
        crl_pem=pem(LIST).encode(),
        pinned_spki_sha256=("ab" * 32,),
        verify_depth=2,
    )
    assert spec_of(UpstreamTLSConfiguration()) == UpstreamTLSSpec()


def test_without_mtls_a_spec_has_no_certificate_and_the_key_stays_sealed() -> None:
    """A stored pair is not presented until mTLS is enabled."""
    configuration = stored(enabled=False, client_key=Sealed(blob=b"cannot be opened"))
    assert spec_of(configuration) == UpstreamTLSSpec()


TOMORROW = timezone.now() + datetime.timedelta(days=1)
YESTERDAY = timezone.now() - datetime.timedelta(days=1)


def test_an_exception_from_verification_has_an_owner() -> None:
    """Who switched it on, not who changed it afterwards; a candidate has none."""
    configuration = UpstreamTLSConfiguration()
    before = timezone.now()
    changes = UpstreamTLSChanges(skip_verify=True, skip_verify_reason=" renewal ", skip_verify_until=TOMORROW)
    apply_changes(configuration, changes, user_name="anna")
    assert (configuration.skip_verify_by, configuration.skip_verify_reason) == ("anna", "renewal")
    since = configuration.skip_verify_since
    assert since is not None
    assert before <= since <= timezone.now()
    apply_changes(configuration, UpstreamTLSChanges(skip_verify=True, skip_verify_until=None), user_name="ben")
    assert (configuration.skip_verify_by, configuration.skip_verify_since) == ("anna", since)
    assert configuration.skip_verify_until is None


def test_an_exception_goes_as_a_whole() -> None:
    """The next one begins with nothing."""
    configuration = UpstreamTLSConfiguration()
    changes = UpstreamTLSChanges(skip_verify=True, skip_verify_reason="renewal", skip_verify_until=TOMORROW)
    apply_changes(configuration, changes, user_name="anna")
    apply_changes(configuration, UpstreamTLSChanges(skip_verify=False), user_name="ben")
    assert (configuration.skip_verify_by, configuration.skip_verify_reason) == ("", "")
    assert (configuration.skip_verify_since, configuration.skip_verify_until) == (None, None)


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"skip_verify": True, "skip_verify_until": YESTERDAY}, "skip_verify_until", "in_the_past"),
        ({"skip_verify": False, "skip_verify_until": TOMORROW}, "skip_verify_until", "not_skipped"),
        ({"skip_verify_reason": "because"}, "skip_verify_reason", "not_skipped"),
        ({"skip_verify": True, "skip_verify_reason": "x" * 501}, "skip_verify_reason", "max_length"),
        ({"skip_verify": True, "skip_verify_reason": "two\nlines"}, "skip_verify_reason", "invalid"),
        ({"skip_verify": True, "skip_verify_reason": "\ud800"}, "skip_verify_reason", "invalid"),
    ],
)
def test_exceptions_that_cannot_be(changes: dict[str, Any], field: str, code: str) -> None:
    """An end in the past, words about an exception that there is not, and what is no line of text."""
    found = errors_of(UpstreamTLSConfiguration(), **changes)
    assert [code for code, _ in found[field]] == [code]


def test_an_exception_that_is_over_means_nothing() -> None:
    """Connections verify again at that moment, before anything is swept."""
    assert not spec_of(stored(skip_verify=True, skip_verify_until=YESTERDAY)).skip_verify
    assert spec_of(stored(skip_verify=True, skip_verify_until=TOMORROW)).skip_verify
    assert spec_of(stored(skip_verify=True)).skip_verify
