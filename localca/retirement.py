"""What still depends on a CA, and ending the trust in one on which nothing depends.

Laws of this module: a CA is retired with all beneath it, for good; its rows stay, for the history and its revocation
lists. Whoever uses certificates and stands above this app in the order of imports says so by `register_finder`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from localca.hierarchy import HierarchyError
from localca.models import CertificateAuthority, IssuedCertificate, IssuedCertificateQuerySet, Status
from localca.revocation import audit_authority, lock_authority, publish_list
from localca.selectors import active_authority, family_of, leafs_of

# Of a fleet that large, an error message names the first ones.
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """Something that presents a certificate of a CA, named for an operator. `path` is its admin page."""

    name: str
    certificate: str
    fingerprint_sha256: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What must be changed before a CA can be retired.

    `certificates` are valid ones without a successor. `dependents` present a certificate of this CA, whatever became of
    it. `is_issuing`: the active CA is this one or beneath it.
    """

    is_issuing: bool
    certificates: tuple[IssuedCertificate, ...]
    dependents: tuple[Dependent, ...]

    @property
    def is_ready(self) -> bool:
        return not (self.is_issuing or self.certificates or self.dependents)

    def reasons(self) -> Iterator[str]:
        """Each in one sentence, without a full stop."""
        if self.is_issuing:
            yield "it issues, or an intermediate beneath it does"
        if self.dependents:
            yield f"{_named([dependent.name for dependent in self.dependents])} present its certificates"
        if self.certificates:
            names = [certificate.subject for certificate in self.certificates]
            yield f"{_named(names)} are valid and have no successor: renew or revoke them"


Finder = Callable[[Collection[CertificateAuthority]], Sequence[Dependent]]

_finders: list[Finder] = []


def register_finder(finder: Finder) -> None:
    """To be called when an app is ready: `finder` says what presents certificates of these CAs."""
    if finder not in _finders:
        _finders.append(finder)


def readiness_of(authority: CertificateAuthority) -> Readiness:
    """What depends on a CA and on those beneath it. A constant number of queries, and those of the finders."""
    family = family_of(authority)
    valid: IssuedCertificateQuerySet = leafs_of(*family).with_status(Status.VALID, now=timezone.now())
    return Readiness(
        is_issuing=any(member.is_active for member in family),
        certificates=tuple(valid.filter(renewed_by=None).order_by("subject", "pk")),
        dependents=tuple(found for finder in _finders for found in finder(family)),
    )


@transaction.atomic
def retire_authority(*, authority: CertificateAuthority, user: Actor | None) -> CertificateAuthority:
    """Take a root and all beneath it out of the trust bundle. Raises HierarchyError (`not_a_root`, `already_retired`,
    `still_needed`)."""
    stored = lock_authority(authority.pk)
    if not stored.is_root:
        raise HierarchyError("not_a_root", "Peers trust roots: retire the root above, or revoke this intermediate.")
    if stored.retired_at is not None:
        raise HierarchyError("already_retired", f"{stored} is retired already.")
    readiness = readiness_of(stored)
    if not readiness.is_ready:
        raise HierarchyError("still_needed", f"{stored} is still needed: {'; '.join(readiness.reasons())}.")
    for member in family_of(stored):
        if member.retired_at is None:
            before = member.summary()
            member.retired_at = timezone.now()
            member.save(update_fields=["retired_at"])
            audit_authority(member, action="retired", before=before, user=user)
    if (active := active_authority()) is not None:
        # The lists in one file are fewer from now on: a client that asks by date must see a change.
        publish_list(lock_authority(active.pk))
    return lock_authority(stored.pk)


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
