"""Who issued a certificate that nobody here can trace: a CA that is not trusted, or an intermediate that was not sent.

Laws of this module: a guess, made from names and keys only, after the refusal; it never changes what is trusted.
"""

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from OpenSSL.crypto import X509

from upstream_tls.tls.chain import is_issued_by


def is_missing_intermediate(
    leaf: x509.Certificate, *, anchors: Sequence[X509], known: Iterable[x509.Certificate], is_system_trust: bool
) -> bool:
    """Whether `leaf`, which came alone, was probably issued by an intermediate of a trusted root.

    So it is when its issuer is among `known` and one of the anchors has signed that; when the leaf itself says that an
    anchor issued its issuer (RFC 5280 section 4.2.1.1); or when it carries the timestamps of public CT logs, which only
    CAs of the system trust store get, and they do not issue from roots. Never raises.
    """
    try:
        if leaf.issuer == leaf.subject:
            return False
        return (
            _is_by_known_intermediate(leaf, anchors, known)
            or _names_a_root(leaf, anchors)
            or (is_system_trust and _has_extension(leaf, ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS))
        )
    except Exception:  # noqa: BLE001 (a malformed certificate: no guess)
        return False


def _is_by_known_intermediate(
    leaf: x509.Certificate, anchors: Sequence[X509], known: Iterable[x509.Certificate]
) -> bool:
    intermediates = [found for found in known if found.issuer != found.subject and is_issued_by(leaf, found)]
    # Reading the whole system trust store takes milliseconds, so it is not done unless there is something to compare.
    return bool(intermediates) and any(
        is_issued_by(intermediate, anchor.to_cryptography()) for intermediate in intermediates for anchor in anchors
    )


def _names_a_root(leaf: x509.Certificate, anchors: Sequence[X509]) -> bool:
    """The authority key identifier may name the issuer's issuer and the issuer's serial number."""
    try:
        identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return False
    names = [name.value for name in identifier.authority_cert_issuer or () if isinstance(name, x509.DirectoryName)]
    others = [name for name in names if name != leaf.issuer]
    return bool(others) and any(anchor.to_cryptography().subject in others for anchor in anchors)


def _has_extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bool:
    return any(extension.oid == oid for extension in certificate.extensions)
