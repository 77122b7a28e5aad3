"""The keyring: what opens, what does not, and what it says."""

import base64
import copy
import time

import pytest

from aegis_site.kernel.keyring import (
    HEADER_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Keyring,
    KeyringError,
    SecretUnreadable,
    parse_master_key,
)

KEY_A = "a1" * 32
KEY_B = "b2" * 32
PLACE = b"hosts.example|key|1"


def test_a_value_opens_at_its_place_only() -> None:
    """Moving a ciphertext to another row or column makes it unreadable."""
    keyring = Keyring(KEY_A)
    blob = keyring.seal(b"secret", PLACE)
    assert keyring.open(blob, PLACE) == b"secret"
    with pytest.raises(SecretUnreadable) as raised:
        keyring.open(blob, b"hosts.example|key|2")
    assert raised.value.code == "secret_damaged"


def test_every_changed_byte_is_noticed() -> None:
    """Flipping any single bit of a stored value makes it unreadable, the header included."""
    keyring = Keyring(KEY_A)
    blob = keyring.seal(b"secret", PLACE)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        with pytest.raises(SecretUnreadable):
            keyring.open(bytes(changed), PLACE)


def test_truncated_values_are_refused() -> None:
    """A value cut at any length does not open, and says so without a library's text."""
    keyring = Keyring(KEY_A)
    blob = keyring.seal(b"secret", PLACE)
    for length in range(len(blob)):
        with pytest.raises(SecretUnreadable):
            keyring.open(blob[:length], PLACE)


def test_equal_secrets_look_different() -> None:
    """Salt and nonce are fresh for every value."""
    keyring = Keyring(KEY_A)
    blobs = {keyring.seal(b"secret", PLACE) for _ in range(50)}
    assert len({blob[9:HEADER_BYTES] for blob in blobs}) == 50
    assert len({blob[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES] for blob in blobs}) == 50


def test_the_overhead_is_as_documented() -> None:
    """A sealed value is header, nonce, ciphertext of the same length, and tag."""
    assert len(Keyring(KEY_A).seal(b"x" * 100, PLACE)) == HEADER_BYTES + NONCE_BYTES + 100 + TAG_BYTES


def test_previous_keys_open_and_the_current_one_seals() -> None:
    """During a rotation old values open, new ones are sealed with the new key."""
    old_blob = Keyring(KEY_A).seal(b"secret", PLACE)
    rotating = Keyring(KEY_B, (KEY_A,))
    assert rotating.open(old_blob, PLACE) == b"secret"
    assert not rotating.is_current(old_blob)
    new_blob = rotating.seal(b"secret", PLACE)
    assert rotating.is_current(new_blob)
    assert Keyring(KEY_B).open(new_blob, PLACE) == b"secret"


def test_another_key_is_named_by_its_id_only() -> None:
    """The error tells which key sealed the value, and shows no key."""
    blob = Keyring(KEY_A).seal(b"secret", PLACE)
    with pytest.raises(SecretUnreadable) as raised:
        Keyring(KEY_B).open(blob, PLACE)
    assert raised.value.code == "secret_other_key"
    assert blob[1:9].hex() in raised.value.message
    assert KEY_A not in raised.value.message


@pytest.mark.parametrize(
    "text",
    [
        bytes(range(32)).hex(),
        bytes(range(32)).hex().upper(),
        base64.b64encode(bytes(range(32))).decode(),
        base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("="),
    ],
)
def test_the_same_key_in_hex_and_base64(text: str) -> None:
    """32 bytes may be written in hex or in either base64 alphabet, padded or not."""
    assert parse_master_key(text) == bytes(range(32))


def test_a_passphrase_is_stretched() -> None:
    """Anything else is a passphrase; deriving its key is slow on purpose and always gives the same key."""
    started = time.process_time()
    first = parse_master_key("correct horse battery staple")
    assert time.process_time() - started > 0.02
    assert len(first) == 32
    assert first == parse_master_key("correct horse battery staple")


@pytest.mark.parametrize("text", ["short", "x" * 19])
def test_weak_passphrases_are_refused(text: str) -> None:
    """A passphrase under 20 characters is refused, and not repeated in the message."""
    with pytest.raises(KeyringError, match="at least 20 characters") as raised:
        parse_master_key(text)
    assert raised.value.code == "ssl_key_weak"
    assert text not in raised.value.message


def test_a_missing_key_is_refused() -> None:
    """There is no default key."""
    with pytest.raises(KeyringError, match="AEGIS_SSL_KEY is not set"):
        Keyring("")


def test_a_keyring_shows_no_key() -> None:
    """Neither repr nor copying tools give a key away."""
    keyring = Keyring(KEY_A)
    assert KEY_A not in repr(keyring)
    assert "a1a1" not in repr(keyring)
    with pytest.raises(TypeError, match="not for serialising"):
        copy.deepcopy(keyring)
