"""From what was uploaded as client certificate and key to a chain in order and one key.

Laws of this module:
- Nothing is stored here. Every text for the operator is an error with a stable code or a notice of what was put right.
- A private key found among certificates is taken out, before anything else can store or show it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from django.core.exceptions import ValidationError

from aegis_site.kernel.certificates import describe
from upstream_tls.changes import Keep, UpstreamTLSChanges
from upstream_tls.tls.chain import arrange
from upstream_tls.tls.credentials import CredentialProblem, PrivateKey, key_spki_sha256, parse_chain, parse_key
from upstream_tls.tls.pem import split_pem
from upstream_tls.tls.pkcs12 import open_pkcs12

T = TypeVar("T")

# By the name of the field that they are about.
Errors = dict[str, list[ValidationError]]

KEY_TAKEN = "The private key that stood beside the certificate was taken as Client Key."
KEY_IGNORED = "The private key beside the certificate was left out: the Client Key field has its own."


@dataclass(slots=True)
class ClientPair:
    """What an upload came to. None: not uploaded or not readable; an empty chain: clear the stored one.

    `errors` is keyed by the field that is to blame.
    """

    chain: tuple[x509.Certificate, ...] | None = None
    key: PrivateKey | None = field(default=None, repr=False)
    clears_key: bool = False
    notices: list[str] = field(default_factory=list)
    errors: Errors = field(default_factory=dict)


def read_pair(changes: UpstreamTLSChanges, *, stored_spki_sha256: str) -> ClientPair:
    """Reads certificate, key and PKCS#12 of `changes`; all errors at once, none is raised."""
    pair = ClientPair()
    certificate, key = changes.client_certificate, changes.client_key
    if not isinstance(changes.client_pkcs12, Keep) and changes.client_pkcs12:
        certificate, key = _from_pkcs12(pair, changes)
    elif not isinstance(certificate, Keep):
        certificate, inner_key = separate_key(certificate)
        if inner_key:
            has_own_key = not isinstance(key, Keep) and key.strip()
            pair.notices.append(KEY_IGNORED if has_own_key else KEY_TAKEN)
            key = key if has_own_key else inner_key
    _read_key_into(pair, key, changes.client_key_passphrase)
    _read_chain_into(pair, certificate, key_spki_sha256(pair.key) if pair.key else stored_spki_sha256)
    return pair


def separate_key(text: str) -> tuple[str, str]:
    """Certificates and private key of one PEM text. A text that holds only one kind, or is malformed, stays whole."""
    try:
        blocks = split_pem(encoded(text))
    except CredentialProblem:
        return text, ""
    keys = [block.text.decode("utf-8", "replace") for block in blocks if block.is_private_key]
    others = [block.text.decode("utf-8", "replace") for block in blocks if not block.is_private_key]
    return ("".join(others), "".join(keys)) if keys and others else (text, "")


def read_key(pem: str, passphrase: str) -> PrivateKey:
    """The private key that an operator pasted. Raises ValidationError."""
    return translated(lambda: parse_key(encoded(pem), encoded(passphrase) or None))


def translated(read: Callable[[], T]) -> T:
    """What `read` returns; its CredentialProblem becomes a ValidationError with the same code."""
    try:
        return read()
    except CredentialProblem as problem:
        raise ValidationError(problem.message, code=problem.code) from problem


@contextmanager
def collected(errors: Errors, field_name: str) -> Iterator[None]:
    """Keeps a ValidationError of the block under `field_name`."""
    try:
        yield
    except ValidationError as error:
        errors[field_name] = error.error_list


def check_describable(certificates: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
    """Raises ValidationError for what the editor could not show."""
    try:
        for certificate in certificates:
            describe(certificate)
    except ValueError as error:
        raise ValidationError("A name, a key or an extension in a certificate is malformed.", code="bad_pem") from error
    return certificates


def encoded(text: str) -> bytes:
    """UTF-8; lone surrogates, which JSON can carry, become question marks."""
    return text.encode("utf-8", "replace")


def _from_pkcs12(pair: ClientPair, changes: UpstreamTLSChanges) -> tuple[str | Keep, str | Keep]:
    """Certificate and key as texts; KEEP when there is an error."""
    content = changes.client_pkcs12
    if any(value and not isinstance(value, Keep) for value in (changes.client_certificate, changes.client_key)):
        message = "A PKCS#12 file brings certificate and key: leave the other two empty."
        pair.errors["client_pkcs12"] = [ValidationError(message, code="conflict")]
        return Keep.KEEP, Keep.KEEP
    try:
        found = translated(
            lambda: open_pkcs12(b"" if isinstance(content, Keep) else content, encoded(changes.client_key_passphrase))
        )
    except ValidationError as error:
        pair.errors["client_pkcs12"] = error.error_list
        return Keep.KEEP, Keep.KEEP
    return found.certificates_pem.decode("ascii"), found.key_pem.decode("ascii")


def _read_key_into(pair: ClientPair, pem: str | Keep, passphrase: str) -> None:
    if isinstance(pem, Keep):
        return
    if not pem.strip():
        pair.clears_key = True
        return
    try:
        pair.key = read_key(pem, passphrase)
    except ValidationError as error:
        pair.errors["client_key"] = error.error_list


def _read_chain_into(pair: ClientPair, pem: str | Keep, leaf_spki_sha256: str) -> None:
    if isinstance(pem, Keep):
        return
    if not pem.strip():
        pair.chain = ()
        return
    try:
        certificates = check_describable(translated(lambda: parse_chain(encoded(pem))))
        arrangement = translated(lambda: arrange(certificates, leaf_spki_sha256=leaf_spki_sha256))
    except ValidationError as error:
        pair.errors["client_certificate"] = error.error_list
        return
    pair.chain = arrangement.chain
    if arrangement.is_reordered:
        pair.notices.append("The certificates were put in order: the leaf first, then its issuers.")
    if arrangement.root:
        pair.notices.append(
            f"The root {arrangement.root.subject.rfc4514_string()} was left out: the upstream has it, or would not "
            "trust it."
        )
    if arrangement.left_out:
        names = ", ".join(certificate.subject.rfc4514_string() for certificate in arrangement.left_out[:3])
        pair.notices.append(f"Not part of the client certificate's chain, so left out: {names}.")
