"""The keyring that seals secrets at rest.

A sealed value is

    version (1 byte) | key id (8) | salt (16) | nonce (12) | ciphertext and tag

AES-256-GCM under HKDF-SHA256(master key, salt): a fresh salt for every value keeps random nonces safe however many
values there are (NIST SP 800-38D section 8.3 bounds one key to 2^32 random nonces). The associated data are the bytes
before the nonce and the place of the value (model, column, primary key), so that a ciphertext moved elsewhere does not
open.

`django_cryptography.utils.crypto` lends the cipher interface, PBKDF2 and the constant-time comparison. Its model fields
are never used: they pickle values, use AES-CBC and do not import on Django 5 (docs/adr/0002).
"""

import base64
import binascii
import functools
import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django_cryptography.utils.crypto import FernetBytes, InvalidToken, constant_time_compare, pbkdf2

from aegis_site.kernel.errors import AegisError

FORMAT_VERSION = b"\x01"
KEY_ID_BYTES = 8
SALT_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = len(FORMAT_VERSION) + KEY_ID_BYTES + SALT_BYTES

# OWASP's figure for PBKDF2-HMAC-SHA256. The salt is fixed: every process must derive the same key from the passphrase.
PASSPHRASE_ROUNDS = 600_000
PASSPHRASE_SALT = b"aegis keyring passphrase v1"
PASSPHRASE_MIN_CHARACTERS = 20


class KeyringError(AegisError):
    """AEGIS_SSL_KEY is missing or cannot be used."""


class SecretUnreadable(AegisError):
    """A sealed value does not open: other key, other place, or changed bytes."""


class AES256GCM(FernetBytes):
    """django-cryptography's cipher interface with AES-256-GCM inside; one object per value and place."""

    def __init__(self, key: bytes, associated_data: bytes) -> None:
        # The base class would read a signer and a key from Django's settings: nothing of it is wanted.
        self._aead = AESGCM(key)
        self._associated_data = associated_data

    def encrypt(self, data: bytes) -> bytes:
        """Random nonce, ciphertext and tag."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, self._associated_data)

    def decrypt(self, data: bytes, ttl: None = None) -> bytes:
        """The inverse of `encrypt`. Raises InvalidToken."""
        if len(data) < NONCE_BYTES + TAG_BYTES:
            raise InvalidToken
        try:
            return self._aead.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], self._associated_data)
        except InvalidTag as error:
            raise InvalidToken from error


def parse_master_key(text: str) -> bytes:
    """32 bytes from one value of AEGIS_SSL_KEY: 32 bytes in hex or base64, or else a passphrase to stretch.

    Costs about a quarter of a second for a passphrase. Raises KeyringError.
    """
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if re.fullmatch(r"[A-Za-z0-9+/_-]{43}=?", text):
        try:
            return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_").rstrip("=") + "=")
        except binascii.Error:
            pass  # not base64 after all: a passphrase
    if len(text) < PASSPHRASE_MIN_CHARACTERS:
        raise KeyringError(
            "ssl_key_weak",
            "AEGIS_SSL_KEY must be 32 bytes in hex or base64, or a passphrase of at least "
            f"{PASSPHRASE_MIN_CHARACTERS} characters",
        )
    stretched: bytes = pbkdf2(text, PASSPHRASE_SALT, PASSPHRASE_ROUNDS, 32, hashes.SHA256())
    return stretched


class Keyring:
    """Seals with the first key, opens with any. Holds no reference to the text of the keys."""

    def __init__(self, current: str, previous: tuple[str, ...] = ()) -> None:
        if not current:
            raise KeyringError("ssl_key_missing", "AEGIS_SSL_KEY is not set")
        masters = [parse_master_key(text) for text in (current, *previous)]
        self._masters = {_derive(master, b"aegis key id", KEY_ID_BYTES): master for master in reversed(masters)}
        self._current_id = _derive(masters[0], b"aegis key id", KEY_ID_BYTES)

    def __repr__(self) -> str:
        return f"Keyring(current={self._current_id.hex()}, keys={len(self._masters)})"

    def __reduce__(self) -> str:
        raise TypeError("a keyring is not for serialising")

    def seal(self, plaintext: bytes, place: bytes) -> bytes:
        """`plaintext` sealed under the current key for exactly this `place`."""
        salt = os.urandom(SALT_BYTES)
        header = FORMAT_VERSION + self._current_id + salt
        return header + self._cipher(self._masters[self._current_id], header, place).encrypt(plaintext)

    def open(self, blob: bytes, place: bytes) -> bytes:
        """The plaintext of a sealed value. Raises SecretUnreadable."""
        header = blob[:HEADER_BYTES]
        if len(header) < HEADER_BYTES or not header.startswith(FORMAT_VERSION):
            raise SecretUnreadable("secret_malformed", "the stored value is not a sealed secret")
        master = self._masters.get(_key_id(header))
        if master is None:
            raise SecretUnreadable(
                "secret_other_key",
                f"sealed with key {_key_id(header).hex()}, which is not in AEGIS_SSL_KEY or AEGIS_SSL_KEY_PREVIOUS",
            )
        try:
            return self._cipher(master, header, place).decrypt(blob[HEADER_BYTES:])
        except InvalidToken as error:
            raise SecretUnreadable("secret_damaged", "the stored value was changed or belongs elsewhere") from error

    def is_current(self, blob: bytes) -> bool:
        """Whether a value is sealed with the current key, in the current format."""
        return blob.startswith(FORMAT_VERSION) and bool(constant_time_compare(_key_id(blob), self._current_id))

    @staticmethod
    def _cipher(master: bytes, header: bytes, place: bytes) -> AES256GCM:
        value_key = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=header[-SALT_BYTES:], info=b"aegis sealed value v1"
        ).derive(master)
        return AES256GCM(value_key, header + place)


def _key_id(header: bytes) -> bytes:
    return header[len(FORMAT_VERSION) : len(FORMAT_VERSION) + KEY_ID_BYTES]


def _derive(master: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(master)


def get_keyring() -> Keyring:
    """The keyring of this process's settings. Raises KeyringError."""
    return _keyring(settings.AEGIS_SSL_KEY, tuple(settings.AEGIS_SSL_KEY_PREVIOUS))


@functools.lru_cache(maxsize=4)
def _keyring(current: str, previous: tuple[str, ...]) -> Keyring:
    return Keyring(current, previous)
