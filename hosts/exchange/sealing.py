"""Seals the secrets of an export to a passphrase.

Laws of this module:
- The format has a version, and the version fixes every parameter: nothing in a document makes its reader work harder or
  check less (docs/adr/0024).
- A sealed value is bound to its host and its place there: moved elsewhere it does not open.
- A passphrase comes from a request body, a file or a prompt; it is never stored, shown or logged.
"""

import base64
import binascii
import os
from typing import TypedDict

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django_cryptography.utils.crypto import InvalidToken

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.keyring import AES256GCM

SEALING_VERSION = 1
SALT_BYTES = 16

# One of OWASP's equivalent settings for scrypt, the one with the least memory: 32 MiB and about a third of a second.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 3
_KEY_BYTES = 32

# NIST SP 800-63B-4 section 3.1.1.2: 15 characters for a secret that stands alone. This one can be guessed offline.
MIN_PASSPHRASE_CHARACTERS = 15
MAX_PASSPHRASE_CHARACTERS = 1024

_CHECK_PLACE = "passphrase"


class SealingHeader(TypedDict):
    """What a document says about its sealing. `check` opens with the right passphrase and no other."""

    version: int
    salt: str
    check: str


class PassphraseUnusable(AegisError):
    """A passphrase that nothing may be sealed with, or that does not open a document."""


class SealedValueUnreadable(AegisError):
    """A sealed value that was changed, or belongs elsewhere."""


class PassphraseSealer:
    """Seals and opens the values of one document."""

    def __init__(self, passphrase: str, salt: bytes) -> None:
        kdf = Scrypt(salt=salt, length=_KEY_BYTES, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
        self._key = kdf.derive(passphrase.encode())
        self._salt = salt

    def __repr__(self) -> str:
        return "<PassphraseSealer>"

    @classmethod
    def for_export(cls, passphrase: str) -> "PassphraseSealer":
        """With a fresh salt. Takes a third of a second. Raises PassphraseUnusable."""
        if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
            message = f"A passphrase has at least {MIN_PASSPHRASE_CHARACTERS} characters."
            raise PassphraseUnusable("passphrase_too_short", message)
        _check_length(passphrase)
        return cls(passphrase, os.urandom(SALT_BYTES))

    @classmethod
    def of_document(cls, passphrase: str, header: SealingHeader) -> "PassphraseSealer":
        """What opens a document with this header. Takes a third of a second. Raises PassphraseUnusable."""
        _check_length(passphrase)
        if header["version"] != SEALING_VERSION:
            message = "The secrets in this document were sealed by a newer version of Aegis."
            raise PassphraseUnusable("sealing_version", message)
        sealer = cls(passphrase, _decoded(header["salt"])[:SALT_BYTES])
        try:
            sealer.open(header["check"], host_id="", place=_CHECK_PLACE)
        except SealedValueUnreadable as error:
            message = "The passphrase does not open the secrets in this document."
            raise PassphraseUnusable("wrong_passphrase", message) from error
        return sealer

    @property
    def header(self) -> SealingHeader:
        """To be written into the document."""
        salt = base64.b64encode(self._salt).decode("ascii")
        return SealingHeader(version=SEALING_VERSION, salt=salt, check=self.seal("", host_id="", place=_CHECK_PLACE))

    def seal(self, text: str, *, host_id: str, place: str) -> str:
        """`text` for exactly this place of this host, as base64."""
        return base64.b64encode(self._cipher(host_id, place).encrypt(text.encode())).decode("ascii")

    def open(self, sealed: str, *, host_id: str, place: str) -> str:
        """The inverse of `seal`. Raises SealedValueUnreadable."""
        try:
            return self._cipher(host_id, place).decrypt(_decoded(sealed)).decode()
        except InvalidToken as error:
            message = "This sealed value was changed, or belongs to another host or field."
            raise SealedValueUnreadable("sealed_value_unreadable", message) from error

    def _cipher(self, host_id: str, place: str) -> AES256GCM:
        return AES256GCM(self._key, f"aegis export {SEALING_VERSION}|{host_id}|{place}".encode())


def _check_length(passphrase: str) -> None:
    if len(passphrase) > MAX_PASSPHRASE_CHARACTERS:
        message = f"A passphrase has at most {MAX_PASSPHRASE_CHARACTERS} characters."
        raise PassphraseUnusable("passphrase_too_long", message)


def _decoded(text: str) -> bytes:
    """Nothing for what is not base64, which then does not open."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
