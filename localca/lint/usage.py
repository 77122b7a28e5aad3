"""Checks of what a certificate may be used for: being a CA, how far below, and for which purpose.

Laws of this module: those of `localca.lint.subject`.
"""

from cryptography import x509

from localca.lint.subject import ALL, AUTHORITIES, BENEATH, LEAFS, Check, Role, Subject, extension_of, has_extension
from localca.permitted import CLIENT_AUTH, SERVER_AUTH, purposes_of

_PURPOSES = {Role.CLIENT: CLIENT_AUTH, Role.SERVER: SERVER_AUTH}


def _is_no_authority(subject: Subject) -> bool:
    found = extension_of(subject.certificate, x509.BasicConstraints)
    return found is not None and not found.value.ca and found.value.path_length is None


def _is_authority(subject: Subject) -> bool:
    found = extension_of(subject.certificate, x509.BasicConstraints)
    return found is not None and found.value.ca


def _has_room_beneath(subject: Subject) -> bool:
    """RFC 5280: how many intermediates may stand between each CA and the leaf."""
    beneath = 0 if subject.role in LEAFS else 1
    for depth, issuer in enumerate(subject.path):
        limit = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if limit is not None and limit < beneath + depth:
            return False
    return True


def _is_for_leafs_only(subject: Subject) -> bool:
    return subject.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def _signs_only(subject: Subject) -> bool:
    usage = subject.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    others = (usage.content_commitment, usage.data_encipherment, usage.key_agreement)
    return usage.digital_signature and not (usage.key_cert_sign or usage.crl_sign or any(others))


def _signs_certificates_and_lists(subject: Subject) -> bool:
    usage = subject.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    return usage.key_cert_sign and usage.crl_sign


def _has_one_purpose(subject: Subject) -> bool:
    usage = subject.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return list(usage) == [_PURPOSES[subject.role]]


def _is_purpose_nested(subject: Subject) -> bool:
    """Go, Windows and NSS: what a leaf is for, each CA above must allow, unless it says nothing."""
    return _PURPOSES[subject.role] in purposes_of(subject.path)


def _has_purpose_for_leafs(subject: Subject) -> bool:
    return bool(purposes_of((subject.certificate, *subject.path)))


CHECKS = (
    Check(
        "constraints",
        "RFC 5280 4.2.1.9",
        ALL,
        "its basic constraints are not critical",
        lambda subject: has_extension(subject, x509.BasicConstraints, critical=True),
    ),
    Check("leaf", "BR 7.1.2.7.8", LEAFS, "its basic constraints are not those of a leaf", _is_no_authority),
    Check("authority", "RFC 5280 4.2.1.9", AUTHORITIES, "it is not a CA", _is_authority),
    Check(
        "path_length", "RFC 5280 4.2.1.9", BENEATH, "a CA above allows no certificate this far below", _has_room_beneath
    ),
    Check("leafs_only", "Aegis", frozenset({Role.INTERMEDIATE}), "its path length is not 0", _is_for_leafs_only),
    Check(
        "key_usage",
        "BR 7.1.2.7.11",
        ALL,
        "its key usage is not critical",
        lambda subject: has_extension(subject, x509.KeyUsage, critical=True),
    ),
    Check("leaf_usage", "BR 7.1.2.7.11", LEAFS, "its key may do other things than sign a handshake", _signs_only),
    Check(
        "authority_usage",
        "BR 7.1.2.10.7",
        AUTHORITIES,
        "its key may not sign certificates and lists",
        _signs_certificates_and_lists,
    ),
    Check("purpose", "BR 7.1.2.7.10", LEAFS, "it has another purpose, or more than one", _has_one_purpose),
    Check(
        "purpose_optional",
        "RFC 5280 4.2.1.12",
        LEAFS,
        "its extended key usage is critical",
        lambda subject: has_extension(subject, x509.ExtendedKeyUsage, critical=False),
    ),
    Check("purpose_nested", "BR 7.1.2.10.6, Go", LEAFS, "a CA above is not for this purpose", _is_purpose_nested),
    Check(
        "authority_purpose",
        "BR 7.1.2.10.6, Go",
        AUTHORITIES,
        "it, or a CA above, is for neither TLS clients nor TLS servers",
        _has_purpose_for_leafs,
    ),
)
