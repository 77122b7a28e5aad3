"""Checks and applies changes of upstream TLS: the one place that decides what may be stored.

Laws of this module:
- All errors at once, keyed by field; the codes are those of docs/diagnosis.md.
- A key is checked against the certificate that will stand beside it. A stored key is compared by its public
  fingerprint, so nothing is opened but in `spec_of`.
"""

import datetime
from collections.abc import Callable

from cryptography import x509
from django.core.exceptions import ValidationError
from django.utils import timezone

from aegis_site.kernel.fields import Sealed
from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges
from upstream_tls.client_pair import Errors, check_describable, collected, encoded, read_pair, translated
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.tls.credentials import (
    chain_to_pem,
    check_pair_by_fingerprint,
    key_spki_sha256,
    key_to_pem,
    parse_ca_bundle,
    parse_chain,
)
from upstream_tls.tls.crl import crls_to_pem, parse_crls
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.validators import (
    check_version_range,
    clean_alpn,
    clean_ciphers,
    clean_pins,
    clean_reason,
    clean_server_name,
    clean_verify_depth,
    clean_verify_name,
    clean_version,
)

# The settings that stand for themselves: the field, and what makes its value storable.
_CLEANERS: dict[str, Callable[..., object]] = {
    "enabled": bool,
    "skip_verify": bool,
    "skip_verify_reason": clean_reason,
    "skip_verify_until": lambda moment: moment,
    "server_name": clean_server_name,
    "verify_name": clean_verify_name,
    "min_version": clean_version,
    "max_version": clean_version,
    "ciphers": clean_ciphers,
    "alpn": clean_alpn,
    "pinned_spki_sha256": clean_pins,
    "verify_depth": clean_verify_depth,
}


def apply_changes(
    configuration: UpstreamTLSConfiguration,
    changes: UpstreamTLSChanges,
    *,
    notices: list[str] | None = None,
    user_name: str = "",
) -> None:
    """Assigns `changes` to `configuration` and saves nothing. `notices` is told what was put right on the way.

    `user_name`: who answers for an exception from verification that begins with these changes.

    Raises ValidationError, keyed by field, with every error at once. The configuration then has the values that could
    be read, and must not be saved.
    """
    errors: Errors = {}
    was_skipped = configuration.skip_verify
    for name, clean in _CLEANERS.items():
        value = getattr(changes, name)
        if value is not KEEP:
            with collected(errors, name):
                setattr(configuration, name, clean(value))
    _apply_exception(configuration, changes, errors, was_skipped=was_skipped, user_name=user_name)
    if not {"min_version", "max_version"} & errors.keys():
        with collected(errors, "max_version"):
            check_version_range(configuration.min_version, configuration.max_version)
    with collected(errors, "ca_certificate"):
        if not isinstance(changes.ca_certificate, Keep):
            configuration.ca_certificate = chain_to_pem(_ca_bundle(changes.ca_certificate))
    with collected(errors, "crl"):
        if not isinstance(changes.crl, Keep):
            configuration.crl = _crls(changes.crl)
    found = _apply_pair(configuration, changes, errors)
    if notices is not None:
        notices.extend(found)
    if errors:
        raise ValidationError(errors)


def spec_of(configuration: UpstreamTLSConfiguration) -> UpstreamTLSSpec:
    """What a stored or a candidate configuration means, for a connection. Opens the client key.

    The key and certificate are in it only when mTLS is enabled. Raises SecretUnreadable.
    """
    key = configuration.client_key if configuration.enabled else None
    return UpstreamTLSSpec(
        client_chain_pem=configuration.client_certificate.encode("ascii") if configuration.enabled else b"",
        client_key_pem=key.reveal() if key else b"",
        ca_pem=configuration.ca_certificate.encode("ascii"),
        skip_verify=configuration.is_verification_skipped(timezone.now()),
        server_name=configuration.server_name,
        verify_name=configuration.verify_name,
        min_version=configuration.min_version,
        max_version=configuration.max_version,
        ciphers=configuration.ciphers,
        alpn=tuple(configuration.alpn),
        crl_pem=configuration.crl.encode("ascii"),
        pinned_spki_sha256=tuple(configuration.pinned_spki_sha256),
        verify_depth=configuration.verify_depth,
    )


def _apply_exception(
    configuration: UpstreamTLSConfiguration,
    changes: UpstreamTLSChanges,
    errors: Errors,
    *,
    was_skipped: bool,
    user_name: str,
) -> None:
    """Who, since when, why and until when: kept while verification is skipped, forgotten when it is not."""
    if configuration.skip_verify:
        now = timezone.now()
        if not was_skipped:
            configuration.skip_verify_by, configuration.skip_verify_since = user_name, now
        until = changes.skip_verify_until
        if isinstance(until, datetime.datetime) and until <= now:
            errors["skip_verify_until"] = [ValidationError("This end date is over.", code="in_the_past")]
        return
    for name in ("skip_verify_reason", "skip_verify_until"):
        if getattr(changes, name) not in (KEEP, "", None):
            errors[name] = [ValidationError("The upstream's certificate is verified.", code="not_skipped")]
    configuration.skip_verify_reason, configuration.skip_verify_until = "", None
    configuration.skip_verify_by, configuration.skip_verify_since = "", None


def _apply_pair(configuration: UpstreamTLSConfiguration, changes: UpstreamTLSChanges, errors: Errors) -> list[str]:
    pair = read_pair(changes, stored_spki_sha256=configuration.client_key_spki_sha256)
    errors.update(pair.errors)
    if pair.chain is not None:
        configuration.client_certificate = chain_to_pem(pair.chain)
    if pair.key:
        configuration.client_key = Sealed.of(key_to_pem(pair.key))
        configuration.client_key_spki_sha256 = key_spki_sha256(pair.key)
    elif pair.clears_key:
        configuration.client_key = None
        configuration.client_key_spki_sha256 = ""
    # A certificate or key that cannot be read has its error; comparing would only add noise.
    if not pair.errors:
        _check_pair(configuration, errors)
    return pair.notices


def _check_pair(configuration: UpstreamTLSConfiguration, errors: Errors) -> None:
    if configuration.client_certificate and configuration.has_client_key:
        chain = parse_chain(encoded(configuration.client_certificate))
        with collected(errors, "client_key"):
            translated(lambda: check_pair_by_fingerprint(chain, configuration.client_key_spki_sha256))
    elif configuration.enabled:
        if not configuration.client_certificate:
            errors["client_certificate"] = [_missing("Enable mTLS needs a client certificate.")]
        if not configuration.has_client_key:
            errors["client_key"] = [_missing("Enable mTLS needs the client certificate's private key.")]


def _missing(message: str) -> ValidationError:
    return ValidationError(message, code="client_certificate_missing")


def _ca_bundle(pem: str) -> tuple[x509.Certificate, ...]:
    return check_describable(translated(lambda: parse_ca_bundle(encoded(pem)))) if pem.strip() else ()


def _crls(pem: str) -> str:
    return crls_to_pem(translated(lambda: parse_crls(encoded(pem)))) if pem.strip() else ""
