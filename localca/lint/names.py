"""Checks of the subject alternative names of a leaf.

Laws of this module: those of `localca.lint.subject`.
"""

import re

from cryptography import x509

from localca.lint.subject import LEAFS, Check, Role, Subject, has_extension
from localca.permitted import NameConstraints

SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
_DNS_NAME = re.compile(r"(\*\.)?(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)


def _names(subject: Subject, kind: type[x509.GeneralName]) -> list[str]:
    extension = subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value if isinstance(name, kind)]


def _is_name_there(subject: Subject) -> bool:
    return len(subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) > 0


def _are_names_of_known_kinds(subject: Subject) -> bool:
    names = subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(isinstance(name, x509.DNSName | x509.IPAddress | x509.UniformResourceIdentifier) for name in names)


def _are_names_different(subject: Subject) -> bool:
    names = list(subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return len(set(names)) == len(names)


def _can_be_asked_for(subject: Subject) -> bool:
    return bool(_names(subject, x509.DNSName) or _names(subject, x509.IPAddress))


def _has_no_uri(subject: Subject) -> bool:
    return not _names(subject, x509.UniformResourceIdentifier)


def _are_dns_names(subject: Subject) -> bool:
    return all(len(name) <= 253 and _DNS_NAME.fullmatch(name) for name in _names(subject, x509.DNSName))


def _are_uris_absolute(subject: Subject) -> bool:
    return all(
        re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", name)
        for name in _names(subject, x509.UniformResourceIdentifier)
    )


def _is_spiffe_id_alone(subject: Subject) -> bool:
    uris = _names(subject, x509.UniformResourceIdentifier)
    return len(uris) == 1 or not any(uri.lower().startswith("spiffe:") for uri in uris)


def _are_spiffe_ids(subject: Subject) -> bool:
    uris = _names(subject, x509.UniformResourceIdentifier)
    return all(SPIFFE_ID.fullmatch(uri) for uri in uris if uri.lower().startswith("spiffe:"))


def _are_names_permitted(subject: Subject) -> bool:
    names = subject.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return not NameConstraints(subject.path).refusals(subject.certificate.subject, names)


CHECKS = (
    Check("names", "BR 7.1.2.7.12", LEAFS, "it has no subject alternative name", _is_name_there),
    Check(
        "names_optional",
        "RFC 5280 4.2.1.6",
        LEAFS,
        "its names are critical",
        lambda subject: has_extension(subject, x509.SubjectAlternativeName, critical=False),
    ),
    Check("name_kinds", "BR 7.1.2.7.12", LEAFS, "a name is none of DNS, IP and URI", _are_names_of_known_kinds),
    Check("name_twice", "Aegis", LEAFS, "a name is in it twice", _are_names_different),
    Check(
        "server_names",
        "RFC 9525 6.1",
        frozenset({Role.SERVER}),
        "a server certificate needs a DNS name or an IP address",
        _can_be_asked_for,
    ),
    Check("server_uri", "BR 7.1.2.7.12", frozenset({Role.SERVER}), "a server's name is a URI", _has_no_uri),
    Check("dns_name", "BR 7.1.4.2, RFC 9525 6.3", LEAFS, "a DNS name is none", _are_dns_names),
    Check("uri", "RFC 5280 4.2.1.6", LEAFS, "a URI is not absolute", _are_uris_absolute),
    Check("spiffe_alone", "X509-SVID 2", LEAFS, "a SPIFFE ID stands beside another URI", _is_spiffe_id_alone),
    Check("spiffe_id", "SPIFFE-ID 2", LEAFS, "a SPIFFE ID is malformed", _are_spiffe_ids),
    Check(
        "name_constraints",
        "RFC 5280 4.2.1.10",
        LEAFS,
        "a CA above does not permit one of its names",
        _are_names_permitted,
    ),
)
