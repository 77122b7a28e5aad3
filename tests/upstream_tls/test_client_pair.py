"""From uploads to a chain and a key."""

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs7, pkcs12
from django.core.exceptions import ValidationError

from tests.support.certificates import Authority
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.client_pair import KEY_IGNORED, KEY_TAKEN, ClientPair, read_key, read_pair, separate_key
from upstream_tls.tls.credentials import key_spki_sha256, key_to_pem, parse_key

CA = Authority("Orders CA")
ISSUING = Authority("Issuing CA", parent=CA)
LEAF = ISSUING.client("orders")
OTHER = ISSUING.client("other")
SENT = (LEAF.certificate, ISSUING.certificate)
PKCS12 = pkcs12.serialize_key_and_certificates(
    b"orders", LEAF.key, LEAF.certificate, [CA.certificate, ISSUING.certificate], BestAvailableEncryption(b"a secret")
)
ROOT_LEFT_OUT = "The root CN=Orders CA was left out: the upstream has it, or would not trust it."


def pair_of(stored_spki_sha256: str = "", **changes: object) -> ClientPair:
    return read_pair(UpstreamTLSChanges(**changes), stored_spki_sha256=stored_spki_sha256)  # type: ignore[arg-type]


def key_of(pair: ClientPair) -> str:
    assert pair.key is not None
    return key_to_pem(pair.key).decode()


def codes(pair: ClientPair) -> dict[str, list[str | None]]:
    return {name: [problem.code for problem in problems] for name, problems in pair.errors.items()}


def test_nothing_uploaded_is_nothing_read() -> None:
    """What is kept is None, what is cleared is empty."""
    assert pair_of() == ClientPair()
    assert pair_of(client_certificate=" ", client_key=" ") == ClientPair(chain=(), clears_key=True)


def test_certificate_and_key_are_read() -> None:
    """Without a notice, because nothing had to be put right."""
    pair = pair_of(client_certificate=LEAF.chain_pem, client_key=LEAF.key_pem)
    assert (pair.chain, key_of(pair), pair.notices, pair.errors) == (SENT, LEAF.key_pem, [], {})


def test_the_order_is_put_right_and_said() -> None:
    """The key, new or stored, tells which is the leaf; roots and strangers are left out by name."""
    text = CA.pem + OTHER.chain_pem + LEAF.chain_pem
    reordered = "The certificates were put in order: the leaf first, then its issuers."
    stranger = "Not part of the client certificate's chain, so left out: CN=other."
    for pair in (
        pair_of(client_certificate=text, client_key=LEAF.key_pem),
        pair_of(key_spki_sha256(parse_key(LEAF.key_pem.encode())), client_certificate=text),
    ):
        assert pair.chain == SENT
        assert pair.notices == [reordered, ROOT_LEFT_OUT, stranger]


def test_a_key_beside_the_certificate_is_taken() -> None:
    """HAProxy's and many CAs' combined file; the field of the key goes before."""
    combined = LEAF.key_pem + LEAF.chain_pem
    pair = pair_of(client_certificate=combined)
    assert (pair.chain, key_of(pair), pair.notices) == (SENT, LEAF.key_pem, [KEY_TAKEN])
    pair = pair_of(client_certificate=combined, client_key="")
    assert (key_of(pair), pair.clears_key) == (LEAF.key_pem, False)
    pair = pair_of(client_certificate=combined, client_key=OTHER.key_pem)
    assert (key_of(pair), pair.notices[0]) == (OTHER.key_pem, KEY_IGNORED)


def test_an_encrypted_key_beside_the_certificate_needs_the_passphrase() -> None:
    """Its error stands at the key."""
    combined = LEAF.chain_pem + LEAF.encrypted_key_pem("a secret")
    assert codes(pair_of(client_certificate=combined)) == {"client_key": ["key_encrypted"]}
    assert key_of(pair_of(client_certificate=combined, client_key_passphrase="a secret")) == LEAF.key_pem


def test_swapped_fields_are_named() -> None:
    """Both of them, each with its own words."""
    pair = pair_of(client_certificate=LEAF.key_pem, client_key=LEAF.chain_pem)
    assert codes(pair) == {"client_certificate": ["pem_swapped"], "client_key": ["pem_swapped"]}
    assert pair.errors["client_certificate"][0].message == "This holds a private key: only certificates belong here."
    assert pair.errors["client_key"][0].message == "This is a certificate: the private key belongs here."


def test_a_pkcs12_file_brings_both() -> None:
    """In order and without the root, as if they had been pasted."""
    pair = pair_of(client_pkcs12=PKCS12, client_key_passphrase="a secret", client_certificate="")
    assert (pair.chain, key_of(pair), pair.notices, pair.errors) == (SENT, LEAF.key_pem, [ROOT_LEFT_OUT], {})
    assert pair_of(client_pkcs12=b"") == ClientPair()


def test_a_pkcs12_file_has_its_errors_at_its_own_field() -> None:
    """Passphrase missing or wrong, and a certificate beside it that contradicts it."""
    assert codes(pair_of(client_pkcs12=PKCS12)) == {"client_pkcs12": ["key_encrypted"]}
    assert codes(pair_of(client_pkcs12=PKCS12, client_key_passphrase="x")) == {
        "client_pkcs12": ["key_wrong_passphrase"]
    }
    for beside in ({"client_certificate": LEAF.chain_pem}, {"client_key": LEAF.key_pem}):
        assert codes(pair_of(client_pkcs12=PKCS12, client_key_passphrase="a secret", **beside)) == {
            "client_pkcs12": ["conflict"]
        }


def test_a_pkcs7_bundle_is_a_chain() -> None:
    """As Windows CAs hand it out, in no order."""
    text = pkcs7.serialize_certificates([ISSUING.certificate, LEAF.certificate], Encoding.PEM).decode()
    assert pair_of(client_certificate=text).chain == SENT


def test_separating_leaves_other_texts_whole() -> None:
    """One kind only, nothing, and what cannot be split."""
    for text in (LEAF.chain_pem, LEAF.key_pem, "", "rubbish", "-----BEGIN CERTIFICATE-----", "\ud800"):
        assert separate_key(text) == (text, "")
    assert separate_key(LEAF.chain_pem + "\n" + LEAF.key_pem) == (LEAF.chain_pem, LEAF.key_pem)


def test_a_pasted_key_is_read_or_refused_with_a_code() -> None:
    """`read_key` speaks in ValidationErrors."""
    assert key_to_pem(read_key(LEAF.key_pem, "")) == LEAF.key_pem.encode()
    with pytest.raises(ValidationError) as caught:
        read_key(LEAF.encrypted_key_pem("a secret"), "wrong")
    assert caught.value.code == "key_wrong_passphrase"


def test_a_pair_shows_no_key() -> None:
    """Not even as an object."""
    assert "PrivateKey" not in repr(pair_of(client_key=LEAF.key_pem))
