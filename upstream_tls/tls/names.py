"""Whether a certificate is for a name.

Laws of this module: DNS names and IP addresses follow RFC 9525 by service_identity; a URI must be equal, byte for byte,
because service_identity compares scheme and host only, and two workloads of one SPIFFE trust domain share both. Common
names count for nothing. Whatever cannot be read is a refusal.
"""

import ipaddress

from cryptography import x509
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern, verify_service_identity


class CertificateNames:
    """The DNS names and addresses that a certificate is for, read once: asking costs look-ups and raises nothing."""

    __slots__ = ("_exact", "_wildcards")

    def __init__(self, leaf: x509.Certificate) -> None:
        try:
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            found = x509.SubjectAlternativeName([])
        names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
        self._exact = frozenset((*names, *map(str, found.get_values_for_type(x509.IPAddress))))
        self._wildcards = frozenset(name[2:] for name in names if name[:2] == "*.")

    def cover(self, name: str) -> bool:
        """Whether clients accept the certificate for `name`, in lower case; `*.` and a name asks for a wildcard.

        RFC 9525 section 6.3: a wildcard stands for exactly the left-most label.
        """
        label, _, parent = name.partition(".")
        return name in self._exact or (bool(label) and parent in self._wildcards)


class NotForThisURI(ValueError):
    """The certificate has other URIs, or none."""


def check_name(leaf: x509.Certificate, name: str) -> None:
    """Raises, with exceptions of several types, unless `leaf` is for `name`: a DNS name, an IP address or a URI."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if is_uri(name):
        if name not in names.get_values_for_type(x509.UniformResourceIdentifier):
            raise NotForThisURI("no URI of the certificate is equal")
    elif is_ip_address(name):
        addresses = [
            IPAddressPattern(found)
            for found in names.get_values_for_type(x509.IPAddress)
            if isinstance(found, ipaddress.IPv4Address | ipaddress.IPv6Address)  # networks are for name constraints
        ]
        verify_service_identity(addresses, [IPAddress_ID(name)], [])
    else:
        patterns = [DNSPattern.from_bytes(found.encode()) for found in names.get_values_for_type(x509.DNSName)]
        verify_service_identity(patterns, [DNS_ID(name)], [])


def is_ip_address(name: str) -> bool:
    """Whether `name` is an IP literal, without brackets."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_uri(name: str) -> bool:
    """Whether `name` is a URI such as `spiffe://example.org/orders`. No DNS name and no address has a slash."""
    return "://" in name
