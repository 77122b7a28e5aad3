"""What clients of a host are shown: checks and applies changes, and has certificates issued by the local CA.

Laws of this module:
- All errors at once, keyed by field; the codes are those of docs/diagnosis.md. Saves nothing.
- Certificate and key come and go together. What is stored can be served: the proxy has no fallback for it.
- Nobody is sent to HTTPS, or told to stay there, while a host has nothing but the worker's default certificate.
"""

from collections.abc import Sequence

from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.fields import Sealed
from hosts.models import DownstreamTLSConfiguration, Host
from hosts.specs import DownstreamTLSChanges
from hosts.validators import clean_hsts_max_age, is_ipv4
from localca.models import IssuedCertificate
from localca.services import issue_server_certificate
from localca.validators import COMMON_NAME_MAX_CHARACTERS, SUBJECT_ALT_NAMES_MAX
from upstream_tls.changes import Keep, UpstreamTLSChanges
from upstream_tls.client_pair import Errors, collected, encoded, read_pair, translated
from upstream_tls.tls.credentials import (
    chain_to_pem,
    check_pair_by_fingerprint,
    key_spki_sha256,
    key_to_pem,
    parse_chain,
)
from upstream_tls.tls.traits import has_weak_key

# As `upstream_tls.client_pair` names them.
_NAMES = {"client_certificate": "certificate", "client_key": "key", "client_pkcs12": "pkcs12"}


def apply_downstream_tls(configuration: DownstreamTLSConfiguration, changes: DownstreamTLSChanges) -> None:
    """Assigns `changes` to `configuration` and saves nothing; `issue` is left to `issue_certificate`.

    Raises ValidationError. The configuration then has the values that could be read, and must not be saved.
    """
    errors: Errors = {}
    if not isinstance(changes.force_https, Keep):
        configuration.force_https = changes.force_https
    if not isinstance(changes.hsts_max_age_s, Keep):
        with collected(errors, "hsts_max_age_s"):
            configuration.hsts_max_age_s = clean_hsts_max_age(changes.hsts_max_age_s)
    if changes.issue is True:
        _check_nothing_uploaded(changes, errors)
    else:
        _apply_pair(configuration, changes, errors)
        if not configuration.certificate and not errors:
            _check_not_needed(configuration, errors)
    if errors:
        raise ValidationError(errors)


def check_issuable(domains: Sequence[str]) -> None:
    """Whether one certificate can name all domains of a host. Raises ValidationError."""
    if len(domains) > SUBJECT_ALT_NAMES_MAX:
        raise ValidationError(
            f"The local CA issues certificates of at most {SUBJECT_ALT_NAMES_MAX} names; this host has {len(domains)}.",
            code="max_length",
        )


def issue_certificate(
    configuration: DownstreamTLSConfiguration, *, host: Host, domains: Sequence[str], user: Actor | None = None
) -> IssuedCertificate:
    """Has the local CA issue a certificate for `domains`, which are clean, and assigns it. The caller saves.

    Raises ValidationError, localca.services.IssuanceError, SecretUnreadable.
    """
    bundle = issue_server_certificate(
        common_name=common_name_of(host, domains),
        subject_alt_names=[f"IP:{name}" if is_ipv4(name) else f"DNS:{name}" for name in domains],
        issued_for=f"host {host.name}",
        user=user,
    )
    apply_downstream_tls(
        configuration, DownstreamTLSChanges(certificate=bundle.chain_pem, key=bundle.key_pem.decode("ascii"))
    )
    return bundle.record


def common_name_of(host: Host, domains: Sequence[str]) -> str:
    """The subject's common name in certificates for a host: its first domain, or its name when that is too long."""
    # Of a name's UTF-8, as `clean_common_name` counts; half a character at the end is dropped.
    shortened = host.name.encode()[:COMMON_NAME_MAX_CHARACTERS].decode("utf-8", "ignore")
    names = [*domains[:1], shortened]
    return next(name for name in names if len(name) <= COMMON_NAME_MAX_CHARACTERS)


def _apply_pair(configuration: DownstreamTLSConfiguration, changes: DownstreamTLSChanges, errors: Errors) -> None:
    pair = read_pair(
        UpstreamTLSChanges(
            client_certificate=changes.certificate,
            client_key=changes.key,
            client_pkcs12=changes.pkcs12,
            client_key_passphrase=changes.key_passphrase,
        ),
        stored_spki_sha256=configuration.key_spki_sha256,
    )
    errors.update({_NAMES.get(name, name): problems for name, problems in pair.errors.items()})
    if pair.chain is not None:
        configuration.certificate = chain_to_pem(pair.chain)
    if pair.key:
        configuration.key = Sealed.of(key_to_pem(pair.key))
        configuration.key_spki_sha256 = key_spki_sha256(pair.key)
    elif pair.clears_key or pair.chain == ():
        configuration.key = None
        configuration.key_spki_sha256 = ""
    # A certificate or key that cannot be read has its error; comparing would only add noise.
    if not pair.errors:
        _check_pair(configuration, errors)


def _check_pair(configuration: DownstreamTLSConfiguration, errors: Errors) -> None:
    if bool(configuration.certificate) != configuration.has_key:
        missing = "key" if configuration.certificate else "certificate"
        message = "A certificate needs its private key." if missing == "key" else "A private key needs its certificate."
        errors[missing] = [ValidationError(message, code=f"{missing}_missing")]
    elif configuration.certificate:
        chain = parse_chain(encoded(configuration.certificate))
        with collected(errors, "key"):
            translated(lambda: check_pair_by_fingerprint(chain, configuration.key_spki_sha256))
        if any(has_weak_key(certificate) for certificate in chain):
            message = "A key in this chain is too weak for TLS: OpenSSL does not serve it."
            errors["certificate"] = [ValidationError(message, code="weak_key")]


def _check_not_needed(configuration: DownstreamTLSConfiguration, errors: Errors) -> None:
    for name, is_wanted in (
        ("force_https", configuration.force_https),
        ("hsts_max_age_s", configuration.hsts_max_age_s > 0),
    ):
        if is_wanted:
            message = "Without a certificate of its own, browsers would be sent to a page that warns of this host."
            errors[name] = [ValidationError(message, code="certificate_missing")]


def _check_nothing_uploaded(changes: DownstreamTLSChanges, errors: Errors) -> None:
    if any(value and not isinstance(value, Keep) for value in (changes.certificate, changes.key, changes.pkcs12)):
        message = "Either a certificate is uploaded or the local CA issues one."
        errors["issue"] = [ValidationError(message, code="conflict")]
