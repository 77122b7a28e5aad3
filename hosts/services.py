"""Everything that changes a host, except the host editor's own save.

Laws of this module:
- All errors of a request at once, keyed by path: `name`, `domains`, `upstreams[0].address`, `upstream_tls.client_key`.
- Each service is one transaction that saves the Host row and ends in `publish_on_commit`.
- The audit log has what each changed, before and after, and never a secret (`hosts.audit`).
"""

import uuid
from collections.abc import Iterable, Sequence

from django.db import transaction

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import changing
from hosts import downstream_tls
from hosts.audit import HOSTS, described
from hosts.downstream_tls import common_name_of
from hosts.drafts import STORED, draft_host
from hosts.models import Domain, Host
from hosts.publish import publish_on_commit
from hosts.rotation.services import cancel_of_hosts
from hosts.specs import HostSpec
from localca.keys import KeyType, generate_key
from localca.models import IssuedCertificate, Purpose
from localca.orders import Order
from localca.services import issue_certificate, nobody_chose
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes

# What the audit log says of a host that got a certificate of the local CA.
ISSUED = "issued"


@transaction.atomic
def create_host(*, spec: HostSpec, user: Actor | None, host_id: uuid.UUID | None = None) -> Host:
    """A new host, with `host_id` when it had one elsewhere; no stored host has it. Raises ValidationError."""
    host = Host() if host_id is None else Host(id=host_id)
    with changing(HOSTS, [host.pk], user=user, found={}):
        _write(host, spec, user)
    return host


@transaction.atomic
def update_host(*, host: Host, spec: HostSpec, user: Actor | None) -> Host:
    """Change what `spec` names. Returns the host as it is now. Raises ValidationError, Host.DoesNotExist."""
    # First the lock: PostgreSQL would show joined rows as they were before it was waited for.
    Host.objects.select_for_update().only("pk").get(pk=host.pk)
    current = Host.objects.with_settings().get(pk=host.pk)
    with changing(HOSTS, [current.pk], user=user, found={current.pk: described(current)}):
        _write(current, spec, user)
    return current


def delete_host(*, host: Host, user: Actor | None) -> None:
    """Delete a host with all that belongs to it; the workers forget it."""
    delete_hosts(hosts=[host], user=user)


@transaction.atomic
def delete_hosts(*, hosts: Iterable[Host], user: Actor | None) -> None:
    """As `delete_host`, for several at once."""
    identifiers = [host.pk for host in hosts]
    with changing(HOSTS, identifiers, user=user):
        cancel_of_hosts(identifiers, user=user)
        Host.objects.filter(pk__in=identifiers).delete()
    publish_on_commit(identifiers)


def install_issued_certificate(
    *,
    host: Host,
    user: Actor | None,
    key_type: KeyType = KeyType.EC_P256,
    validity_days: int | None = None,
) -> IssuedCertificate:
    """Issue a client certificate from the local CA, install it with its key, and enable mTLS.

    The common name is the host's first domain, or its name when that is too long. Raises ValidationError
    (`validity_days`), localca.services.IssuanceError, SecretUnreadable.
    """
    order = Order(
        purpose=Purpose.CLIENT,
        common_name=common_name_of(host, [domain.name for domain in host.domains.all()[:1]]),
        key_type=key_type,
        validity_days=validity_days,
        issued_for=f"host {host.name}",
    )
    key = generate_key(key_type)  # RSA takes seconds: before the transaction
    with transaction.atomic():
        with nobody_chose():
            bundle = issue_certificate(order=order, key=key, user=user)
        install_pair(host=host, chain_pem=bundle.chain_pem, key_pem=bundle.key_pem, action=ISSUED, user=user)
    return bundle.record


@transaction.atomic
def install_pair(*, host: Host, chain_pem: str, key_pem: bytes, action: str, user: Actor | None) -> list[str]:
    """Make this the client certificate and key of a host, and enable mTLS. The one place where a pair is installed.

    `action` is what the audit log says. Returns what was put right in the chain. Raises ValidationError.
    """
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    changes = UpstreamTLSChanges(enabled=True, client_certificate=chain_pem, client_key=key_pem.decode("ascii"))
    notices: list[str] = []
    apply_changes(configuration, changes, notices=notices)
    with changing(HOSTS, [host.pk], user=user, action=action):
        configuration.save()
        # Only that: whatever else the caller's copy says may be old.
        host.save(update_fields=["updated_at"])
    publish_on_commit([host.pk])
    return notices


def write_domains(host: Host, names: Sequence[str]) -> None:
    """Make `names`, already clean, the domains of a saved host. Unchanged ones keep their row."""
    stored = {domain.name: domain for domain in Domain.objects.filter(host=host)}
    if gone := stored.keys() - set(names):
        host.domains.filter(name__in=gone).delete()
    Domain.objects.bulk_create(
        Domain(host=host, name=name, position=position) for position, name in enumerate(names) if name not in stored
    )
    for position, name in enumerate(names):
        if name in stored and stored[name].position != position:
            host.domains.filter(name=name).update(position=position)


def _write(host: Host, spec: HostSpec, user: Actor | None) -> None:
    draft = draft_host(host, spec, claims=STORED, user=user)
    if draft.is_issuing:
        downstream_tls.issue_certificate(draft.downstream, host=host, domains=draft.names)
    host.save()
    if draft.domains is not None:
        write_domains(host, draft.domains)
    if draft.gone:
        host.upstreams.filter(pk__in=[upstream.pk for upstream in draft.gone]).delete()
    for row in (*(draft.upstreams or ()), *draft.rows):
        row.save()
    publish_on_commit([host.pk])
