"""What the CAs of a path permit beneath them: purposes (RFC 5280 section 4.2.1.12) and names (section 4.2.1.10).

Laws of this module: no Django, no clock, no storage; `path` is who issues, then those above, the root last. Where TLS
stacks disagree, the strictest decides, so that what is permitted here no peer refuses.
"""

import ipaddress
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Path = tuple[x509.Certificate, ...]

CLIENT_AUTH, SERVER_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH

# What OpenSSL takes for a DNS name in a subject without DNS names beside it: labels with at least one dot.
_DNS_COMMON_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")

# Names that nobody has (RFC 6761, 5737, 3849).
_PROOF_DNS = "proof.invalid"
_PROOF_ADDRESSES = ("192.0.2.1", "2001:db8::1")

_WORDS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.UniformResourceIdentifier: "URI",
    x509.DirectoryName: "subject",
}
# Of constraints that long, a message names the first ones.
_NAMED = 5


def purposes_of(path: Path) -> frozenset[x509.ObjectIdentifier]:
    """Of TLS clients and servers, what every CA allows. One without extended key usage allows both."""
    allowed = frozenset({CLIENT_AUTH, SERVER_AUTH})
    for certificate in path:
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            continue
        allowed &= frozenset(usage)
    return allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A name that a CA does not permit. `is_subject`: it is the subject, or the common name in it."""

    name: x509.GeneralName
    is_subject: bool
    text: str

    def __str__(self) -> str:
        return self.text


class NameConstraints:
    """Those of all CAs of a path. False when there are none."""

    def __init__(self, path: Path) -> None:
        self._of = [(ca, constraints) for ca in path if (constraints := _constraints_of(ca)) is not None]

    def __bool__(self) -> bool:
        return bool(self._of)

    def refusals(self, subject: x509.Name, names: Iterable[x509.GeneralName]) -> tuple[Refusal, ...]:
        """Each name of a leaf that a CA does not permit, the subject's first."""
        names = tuple(names)
        of_subject: list[x509.GeneralName] = [x509.DirectoryName(subject)]
        if not any(isinstance(name, x509.DNSName) for name in names):
            found = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            of_subject += [x509.DNSName(str(one.value)) for one in found if _DNS_COMMON_NAME.fullmatch(str(one.value))]
        return tuple(
            Refusal(name=name, is_subject=is_subject, text=text)
            for is_subject, group in ((True, of_subject), (False, names))
            for name in group
            if (text := self._why_not(name))
        )

    def subject_of(self, common_name: str) -> x509.Name:
        """The subject of a leaf: the common name, beneath a permitted directory name where that is needed."""
        name = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        plain = x509.Name([name])
        # With a common name of its own it would be a second one.
        bases = [base.value for base in self._permitted(x509.DirectoryName) if not _has_common_name(base.value)]
        candidates = [plain, *(x509.Name([*base.rdns, name]) for base in bases)]
        return next((one for one in candidates if not self._why_not(x509.DirectoryName(one))), plain)

    def examples(self, *, purpose: x509.ObjectIdentifier) -> Iterator[x509.GeneralName]:
        """Permitted names that nobody has, for a proof: a server's are what it can be asked for."""
        subject = self.subject_of("proof")
        kinds = [*self._dns_examples(), *self._address_examples()]
        if purpose == CLIENT_AUTH:
            kinds += self._uri_examples()
        return (name for name in kinds if not self.refusals(subject, [name]))

    def _permitted(self, kind: type[x509.GeneralName]) -> list[x509.GeneralName]:
        return [base for _, found in self._of for base in found.permitted_subtrees or () if isinstance(base, kind)]

    def _dns_examples(self) -> Iterator[x509.GeneralName]:
        yield x509.DNSName(_PROOF_DNS)
        for base in self._permitted(x509.DNSName):
            yield x509.DNSName(f"proof.{base.value.lstrip('.')}")
            yield x509.DNSName(base.value)

    def _address_examples(self) -> Iterator[x509.GeneralName]:
        for address in _PROOF_ADDRESSES:
            yield x509.IPAddress(ipaddress.ip_address(address))
        for base in self._permitted(x509.IPAddress):
            yield x509.IPAddress(base.value.network_address)

    def _uri_examples(self) -> Iterator[x509.GeneralName]:
        for host in (_PROOF_DNS, *(base.value for base in self._permitted(x509.UniformResourceIdentifier))):
            yield x509.UniformResourceIdentifier(f"https://{'proof' if host.startswith('.') else ''}{host}/proof")

    def _why_not(self, name: x509.GeneralName) -> str:
        """In words, "" when every CA permits it."""
        for ca, found in self._of:
            permitted, excluded = (
                [base for base in bases or () if isinstance(base, type(name))]
                for bases in (found.permitted_subtrees, found.excluded_subtrees)
            )
            whose = f"The name constraints of {ca.subject.rfc4514_string()}"
            if (permitted or excluded) and not _is_comparable(name):
                return f"{whose} are about the host of a URI, and {_text(name)} has none."
            if hit := next((base for base in excluded if _overlaps(base, name)), None):
                return f"{whose} exclude {_text(name)}: {_text(hit)} is excluded."
            if permitted and not any(_contains(base, name) for base in permitted):
                more = ", ..." if len(permitted) > _NAMED else ""
                return f"{whose} do not permit {_text(name)}, only {', '.join(map(_text, permitted[:_NAMED]))}{more}."
        return ""


def _constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _has_common_name(name: x509.Name) -> bool:
    return bool(name.get_attributes_for_oid(NameOID.COMMON_NAME))


def _is_comparable(name: x509.GeneralName) -> bool:
    """RFC 5280: of a URI without a DNS name as host, every constraint on URIs MUST be taken as broken."""
    if not isinstance(name, x509.UniformResourceIdentifier):
        return True
    host = _host_of(name)
    return bool(host) and not host.replace(".", "").isdigit() and ":" not in host


def _host_of(name: x509.UniformResourceIdentifier) -> str:
    try:
        return urllib.parse.urlsplit(name.value).hostname or ""
    except ValueError:
        return ""


def _contains(base: x509.GeneralName, name: x509.GeneralName) -> bool:
    """Whether the name, of the same kind, lies in this subtree."""
    match base, name:
        case x509.DNSName(), x509.DNSName():
            return _is_beneath(name.value, base.value, is_itself_in=not base.value.startswith("."))
        case x509.IPAddress(value=ipaddress.IPv4Network() | ipaddress.IPv6Network() as network), x509.IPAddress():
            return network.version == name.value.version and name.value in network
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            host = _host_of(name)
            if base.value.startswith("."):
                return _is_beneath(host, base.value, is_itself_in=False)
            return host == base.value.lower()
        case x509.DirectoryName(), x509.DirectoryName():
            return name.value.rdns[: len(base.value.rdns)] == base.value.rdns
    return False


def _overlaps(base: x509.GeneralName, name: x509.GeneralName) -> bool:
    """Whether something that the name stands for lies in this subtree: of `*.x` also `a.x`."""
    if isinstance(name, x509.DNSName) and isinstance(base, x509.DNSName) and name.value.startswith("*."):
        parent = base.value.lower().lstrip(".").partition(".")[2]
        return _contains(base, name) or parent == name.value[2:].lower()
    # An empty URI is every host to Go and none to OpenSSL.
    is_every_uri = isinstance(base, x509.UniformResourceIdentifier) and not base.value
    return is_every_uri or _contains(base, name)


def _is_beneath(name: str, base: str, *, is_itself_in: bool) -> bool:
    name, base = name.lower(), base.lower().lstrip(".")
    return not base or name.endswith(f".{base}") or (is_itself_in and name == base)


def _text(name: x509.GeneralName) -> str:
    value = name.value.rfc4514_string() if isinstance(name, x509.DirectoryName) else name.value
    return f"{_WORDS.get(type(name), type(name).__name__)}:{value}"
