"""The table, and looking a certificate up in it.

Laws of this module: those of `localca.lint.subject`.
"""

from dataclasses import dataclass

from cryptography import x509

from localca.lint import certificate as of_certificates
from localca.lint import names, usage
from localca.lint.subject import Check, Role, Subject

CHECKS = (*of_certificates.CHECKS, *usage.CHECKS, *names.CHECKS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that failed."""

    check: Check

    def __str__(self) -> str:
        return f"{self.check.problem} ({self.check.code}, {self.check.source})"


def lint(certificate: x509.Certificate, *, role: Role, path: tuple[x509.Certificate, ...]) -> tuple[Finding, ...]:
    """Every check of the role that fails. `path` as in `Subject`."""
    subject = Subject(certificate=certificate, role=role, path=path)
    return tuple(Finding(check) for check in CHECKS if role in check.roles and not _holds(check, subject))


def _holds(check: Check, subject: Subject) -> bool:
    try:
        return check.holds(subject)
    except (ValueError, x509.DuplicateExtension, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType):
        return False
