"""The one timeline: everything that ends, of what is in use.

Laws of this module:
- Whoever shows, tells or counts ends gets them from `expiring`, so that nothing is on the page and not in the alerts.
- Of hosts that are off, and of client certificates that are not presented, nothing is said: nobody misses them.
- Five queries for any number of hosts; what is stored of certificates is parsed once (`upstream_tls.stored`). Nothing
  here opens a key.
"""

import datetime
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from django.db.models import Model

from aegis_site.kernel.certificates import CertificateFacts
from hosts.connection_tests import chains_of_upstreams
from hosts.expiry.expiring import LEAVES, Expiring, Role
from hosts.models import Host
from localca.models import CertificateAuthority, IssuedCertificate, RevocationList, Status
from upstream_tls.stored import stored_facts, stored_revocation_lists

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, PermissionsMixin

ROWS_PER_READ = 200

_ORDER = attrgetter("not_after", "owner", "role", "subject", "fingerprint_sha256", "upstream")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryFilter:
    """None and the empty text ask for nothing. `within_days` counts what is over already.

    `search` are words that must all occur, in any case, in the owner, the subject, the upstream or the fingerprint.
    """

    role: str | None = None
    within_days: int | None = None
    search: str = ""


def timeline(
    *, user: "PermissionsMixin | AnonymousUser", wanted: ExpiryFilter, now: datetime.datetime
) -> list[Expiring]:
    """What this user may see of what is wanted, the first end first."""
    models: tuple[type[Model], ...] = (Host, CertificateAuthority, IssuedCertificate)
    seen = {model for model in models if user.has_perm(_permission(model))}
    until = None if wanted.within_days is None else now + datetime.timedelta(days=wanted.within_days)
    words = wanted.search.lower().split()
    found = [
        one
        for one in expiring(now=now)
        if one.model in seen
        and (wanted.role is None or one.role == wanted.role)
        and (until is None or one.not_after <= until)
        and (not words or _has(one, words))
    ]
    return sorted(found, key=_ORDER)


def expiring(*, now: datetime.datetime) -> Iterator[Expiring]:
    """Everything that ends, in no order."""
    used: set[str] = set()
    for source in (_of_hosts(), _of_upstreams()):
        for found in source:
            if found.role in LEAVES:
                used.add(found.fingerprint_sha256)
            yield found
    yield from _of_authorities(now)
    yield from _of_issued(used, now)


def _permission(model: type[Model]) -> str:
    return f"{model._meta.app_label}.view_{model._meta.model_name}"


def _has(found: Expiring, words: Iterable[str]) -> bool:
    text = f"{found.owner}\n{found.subject}\n{found.upstream}\n{found.fingerprint_sha256}".lower()
    return all(word in text for word in words)


def _of_hosts() -> Iterator[Expiring]:
    rows = Host.objects.filter(enabled=True).values_list(
        "pk",
        "name",
        "upstream_tls__enabled",
        "upstream_tls__client_certificate",
        "upstream_tls__ca_certificate",
        "upstream_tls__crl",
        "downstream_tls__certificate",
    )
    for host_id, name, presents, client, authorities, lists, server in rows.order_by().iterator(ROWS_PER_READ):
        # A host without a row has no columns of it either.
        if presents:
            yield from _chain(Role.CLIENT, Role.CLIENT_CHAIN, stored_facts(client), host_id, name)
        for facts in stored_facts(authorities or ""):
            role = Role.CA_ROOT if facts.subject == facts.issuer else Role.CA_INTERMEDIATE
            yield Expiring(facts.not_after, name, role, facts.subject, facts.fingerprint_sha256, Host, host_id)
        for found in stored_revocation_lists(lists or ""):
            if found.next_update is not None:
                role = Role.REVOCATION_LIST
                yield Expiring(found.next_update, name, role, found.issuer, found.fingerprint_sha256, Host, host_id)
        yield from _chain(Role.SERVER, Role.SERVER_CHAIN, stored_facts(server or ""), host_id, name)


def _chain(
    leaf: Role, rest: Role, chain: Iterable[CertificateFacts], host_id: uuid.UUID, name: str
) -> Iterator[Expiring]:
    role = leaf
    for facts in chain:
        yield Expiring(facts.not_after, name, role, facts.subject, facts.fingerprint_sha256, Host, host_id)
        role = rest


def _of_upstreams() -> Iterator[Expiring]:
    for host_id, name, target, seen_at, chain in chains_of_upstreams():
        role = Role.UPSTREAM
        for subject, fingerprint, end in chain:
            # None: it cannot be read, which the connection test has said.
            if end is not None:
                yield Expiring(end, name, role, subject, fingerprint, Host, host_id, target, seen_at)
            role = Role.UPSTREAM_CHAIN


def _of_authorities(now: datetime.datetime) -> Iterator[Expiring]:
    """Roots and intermediates until they are retired or revoked, and their lists."""
    authorities = {}
    for authority in CertificateAuthority.objects.trusted().defer("private_key"):
        facts = authority.facts
        yield Expiring(
            facts.not_after,
            str(authority),
            Role.LOCAL_CA,
            facts.subject,
            facts.fingerprint_sha256,
            CertificateAuthority,
            authority.pk,
        )
        # One that is over signs no more lists, and needs none.
        if facts.not_after > now:
            authorities[authority.pk] = authority
    latest: dict[uuid.UUID, RevocationList] = {}
    for found in RevocationList.objects.filter(authority__in=authorities).order_by("number"):
        latest[found.authority_id] = found
    for authority_id, found in latest.items():
        authority = authorities[authority_id]
        yield Expiring(
            found.next_update,
            str(authority),
            Role.GIVEN_REVOCATION_LIST if found.is_given else Role.LOCAL_REVOCATION_LIST,
            authority.facts.subject,
            found.revocation_list.fingerprint(hashes.SHA256()).hex(),
            CertificateAuthority,
            authority_id,
        )


def _of_issued(used: Collection[str], now: datetime.datetime) -> Iterator[Expiring]:
    """Those that are good, that nothing replaced, and that are not on the timeline as somebody's leaf already."""
    kept = IssuedCertificate.objects.with_status(Status.VALID, now=now).filter(renewed_by=None)
    rows = kept.order_by().values_list("pk", "subject", "fingerprint_sha256", "not_after", "issued_for")
    for pk, subject, fingerprint, not_after, issued_for in rows.iterator(ROWS_PER_READ):
        if fingerprint not in used:
            yield Expiring(not_after, issued_for, Role.ISSUED, subject, fingerprint, IssuedCertificate, pk)
