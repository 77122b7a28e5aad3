"""Checks and applies changes of upstream TLS: the one place that decides what may be stored.

Laws of this module:
- All errors at once, keyed by field; the codes are those of docs/diagnosis.md.
- A key is checked against the certificate that will stand beside it. A stored key is compared by its public
  fingerprint, so nothing is opened.
"""

from collections.abc import Callable
from typing import TypeVar

from cryptography import x509
from django.core.exceptions import ValidationError

from aegis_site.kernel.certificates import describe
from aegis_site.kernel.fields import Sealed
from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.tls.credentials import (
    CredentialProblem,
    PrivateKey,
    chain_to_pem,
    check_pair_by_fingerprint,
    key_spki_sha256,
    key_to_pem,
    parse_ca_bundle,
    parse_chain,
    parse_key,
)
from upstream_tls.validators import clean_server_name

T = TypeVar("T")

Chain = tuple[x509.Certificate, ...]


def apply_changes(configuration: UpstreamTLSConfiguration, changes: UpstreamTLSChanges) -> None:
    """Assigns `changes` to `configuration` and saves nothing.

    Raises ValidationError, keyed by field, with every error at once; the configuration is then half assigned and must
    be thrown away.
    """
    errors: dict[str, list[ValidationError]] = {}
    if changes.enabled is not KEEP:
        configuration.enabled = changes.enabled
    if changes.skip_verify is not KEEP:
        configuration.skip_verify = changes.skip_verify
    if changes.server_name is not KEEP:
        name = changes.server_name
        configuration.server_name = _collect(errors, "server_name", lambda: clean_server_name(name)) or ""
    if changes.ca_certificate is not KEEP:
        bundle = _collect(errors, "ca_certificate", lambda: _certificates(changes.ca_certificate, parse_ca_bundle))
        configuration.ca_certificate = chain_to_pem(bundle or ())
    _apply_pair(configuration, changes, errors)
    if errors:
        raise ValidationError(errors)


def read_key(pem: str, passphrase: str) -> PrivateKey:
    """The private key that an operator pasted. Raises ValidationError."""
    try:
        return parse_key(_encoded(pem), _encoded(passphrase) or None)
    except CredentialProblem as problem:
        raise ValidationError(problem.message, code=problem.code) from problem


def _apply_pair(
    configuration: UpstreamTLSConfiguration, changes: UpstreamTLSChanges, errors: dict[str, list[ValidationError]]
) -> None:
    if changes.client_certificate is not KEEP:
        chain = _collect(errors, "client_certificate", lambda: _certificates(changes.client_certificate, parse_chain))
        configuration.client_certificate = chain_to_pem(chain or ())
    if changes.client_key is not KEEP:
        pem = changes.client_key.strip()
        key = _collect(errors, "client_key", lambda: read_key(pem, changes.client_key_passphrase)) if pem else None
        configuration.client_key = Sealed.of(key_to_pem(key)) if key else None
        configuration.client_key_spki_sha256 = key_spki_sha256(key) if key else ""
    # A certificate or key that cannot be read has its error; comparing would only add noise.
    if "client_certificate" not in errors and "client_key" not in errors:
        _check_pair(configuration, errors)


def _check_pair(configuration: UpstreamTLSConfiguration, errors: dict[str, list[ValidationError]]) -> None:
    if configuration.client_certificate and configuration.has_client_key:
        chain = parse_chain(_encoded(configuration.client_certificate))
        try:
            check_pair_by_fingerprint(chain, configuration.client_key_spki_sha256)
        except CredentialProblem as problem:
            errors["client_key"] = [ValidationError(problem.message, code=problem.code)]
    elif configuration.enabled:
        if not configuration.client_certificate:
            errors["client_certificate"] = [_missing("Enable mTLS needs a client certificate.")]
        if not configuration.has_client_key:
            errors["client_key"] = [_missing("Enable mTLS needs the client certificate's private key.")]


def _missing(message: str) -> ValidationError:
    return ValidationError(message, code="client_certificate_missing")


def _certificates(pem: str | Keep, parse: Callable[[bytes], Chain]) -> Chain:
    if isinstance(pem, Keep) or not pem.strip():
        return ()
    try:
        certificates = parse(_encoded(pem))
        for certificate in certificates:
            describe(certificate)  # what cannot be described could not be shown in the editor either
    except CredentialProblem as problem:
        raise ValidationError(problem.message, code=problem.code) from problem
    except ValueError as error:
        raise ValidationError("A name, a key or an extension in a certificate is malformed.", code="bad_pem") from error
    return certificates


def _encoded(text: str) -> bytes:
    """UTF-8; lone surrogates, which JSON can carry, become question marks."""
    return text.encode("utf-8", "replace")


def _collect(errors: dict[str, list[ValidationError]], field_name: str, clean: Callable[[], T]) -> T | None:
    try:
        return clean()
    except ValidationError as error:
        errors[field_name] = error.error_list
        return None
