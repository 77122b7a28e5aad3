"""Checking and applying changes."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from aegis_site.kernel.fields import Sealed
from tests.support.certificates import Authority, expired
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes, read_key
from upstream_tls.tls.credentials import key_spki_sha256, parse_key

CA = Authority("Orders CA")
LEAF = CA.client("orders")
OTHER = CA.client("other")


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


def test_a_pasted_key_is_read_or_refused_with_a_code() -> None:
    """`read_key` speaks in ValidationErrors."""
    assert key_spki_sha256(read_key(LEAF.key_pem, "")) == stored().client_key_spki_sha256
    with pytest.raises(ValidationError) as caught:
        read_key(LEAF.encrypted_key_pem("a secret"), "wrong")
    assert caught.value.code == "key_wrong_passphrase"
