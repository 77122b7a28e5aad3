"""What is looked at, in which role, and what a check is.

Laws of this module: no Django, no clock, no storage; nothing is repaired. A check is one question about one certificate
and answers without raising; bytes that it cannot read are a finding too.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509

E = TypeVar("E", bound=x509.ExtensionType)


class Role(enum.Enum):
    """What a certificate is for, which decides what it must look like."""

    CLIENT = "client"
    SERVER = "server"
    ROOT = "root"
    INTERMEDIATE = "intermediate"
    IMPORTED = "imported intermediate"


LEAFS = frozenset({Role.CLIENT, Role.SERVER})
BENEATH_OURS = LEAFS | {Role.INTERMEDIATE}
AUTHORITIES = frozenset({Role.ROOT, Role.INTERMEDIATE, Role.IMPORTED})
OURS = frozenset(Role) - {Role.IMPORTED}
BENEATH = frozenset(Role) - {Role.ROOT}
ALL = frozenset(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at. `path` is who issued it, then those above, the root last; of a root, the root itself."""

    certificate: x509.Certificate
    role: Role
    path: tuple[x509.Certificate, ...]

    @property
    def issuer(self) -> x509.Certificate:
        return self.path[0]


@dataclass(frozen=True, slots=True)
class Check:
    """One question: `holds` is true of a good certificate, `problem` says what is wrong with another."""

    code: str
    source: str
    roles: frozenset[Role]
    problem: str
    holds: Callable[[Subject], bool]


def extension_of(certificate: x509.Certificate, kind: type[E]) -> x509.Extension[E] | None:
    """The extension of that kind, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def has_extension(subject: Subject, kind: type[E], *, critical: bool) -> bool:
    """Whether it is there, and critical or not as asked for."""
    found = extension_of(subject.certificate, kind)
    return found is not None and found.critical is critical
