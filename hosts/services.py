"""Everything that changes a host, except the host editor's own save.

Laws of this module:
- All errors of a request at once, keyed by path: `name`, `domains`, `upstreams[0].address`, `upstream_tls.client_key`.
- Each service is one transaction that saves the Host row and ends in `publish_on_commit`.
- The audit log has what each changed, before and after, and never a secret (`hosts.audit`).
"""

import uuid
from collections.abc import Iterable, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import changing
from hosts.audit import HOSTS, described
from hosts.downstream_tls import apply_downstream_tls, check_issuable, common_name_of, issue_certificate
from hosts.field_errors import FieldErrors
from hosts.models import Domain, DownstreamTLSConfiguration, Host, Upstream
from hosts.publish import publish_on_commit
from hosts.sections import apply_sections
from hosts.selectors import domains_of_other_hosts
from hosts.specs import HostSpec, UpstreamSpec
from hosts.traffic import apply_traffic
from hosts.traffic_models import TrafficConfiguration
from hosts.validators import clean_domain
from localca.models import IssuedCertificate
from localca.services import issue_client_certificate
from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes

MAX_DOMAINS = 500
MAX_UPSTREAMS = 100

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
    Host.objects.select_for_update().get(pk=host.pk)
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
        Host.objects.filter(pk__in=identifiers).delete()
    publish_on_commit(identifiers)


@transaction.atomic
def install_issued_certificate(*, host: Host, user: Actor | None) -> IssuedCertificate:
    """Issue a client certificate from the local CA, install it with its key, and enable mTLS.

    The common name is the host's first domain, or its name when that is too long. Raises ValidationError,
    localca.services.IssuanceError, SecretUnreadable.
    """
    common_name = common_name_of(host, [domain.name for domain in host.domains.all()[:1]])
    bundle = issue_client_certificate(common_name=common_name, issued_for=f"host {host.name}", user=user)
    changes = UpstreamTLSChanges(
        enabled=True, client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode("ascii")
    )
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    apply_changes(configuration, changes)
    with changing(HOSTS, [host.pk], user=user, action=ISSUED):
        configuration.save()
        # Only that: whatever else the caller's copy says may be old.
        host.save(update_fields=["updated_at"])
    publish_on_commit([host.pk])
    return bundle.record


def clean_domains(names: Iterable[str], *, host_id: uuid.UUID) -> list[str]:
    """The domains of a host in order, without repetition. Raises ValidationError with every error."""
    domains: dict[str, None] = {}
    errors: list[ValidationError] = []
    for name in names:
        try:
            domains[clean_domain(name)] = None
        except ValidationError as error:
            errors.extend(error.error_list)
    if len(domains) > MAX_DOMAINS:
        raise ValidationError(f"A host has at most {MAX_DOMAINS} domains.", code="max_length")
    errors.extend(
        ValidationError(f"{domain.name} is already a domain of the host {domain.host.name}.", code="unique")
        for domain in domains_of_other_hosts(list(domains), host_id=host_id)
    )
    if not domains and not errors:
        errors.append(ValidationError("Enter at least one domain.", code="required"))
    if errors:
        raise ValidationError(errors)
    return list(domains)


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
    errors = FieldErrors()
    is_new = host._state.adding
    _assign(host, spec)
    with errors.under(""):
        # Choices say what the constraints say; asking the database for each would make an import wait.
        host.full_clean(exclude={"id"}, validate_constraints=False)
    domains: list[str] | None = None
    if is_new or spec.domains is not KEEP:
        with errors.under("domains"):
            domains = clean_domains(() if isinstance(spec.domains, Keep) else spec.domains, host_id=host.pk)
    upstreams, gone = ((), ()) if isinstance(spec.upstreams, Keep) else _clean_upstreams(host, spec.upstreams, errors)
    configuration = UpstreamTLSConfiguration(host=host) if is_new else host.upstream_configuration
    with errors.under("upstream_tls"):
        apply_changes(configuration, spec.upstream_tls, user_name=user.get_username() if user is not None else "")
    downstream = DownstreamTLSConfiguration(host=host) if is_new else host.downstream_configuration
    is_issuing = spec.downstream_tls.issue is True
    with errors.under("downstream_tls"):
        apply_downstream_tls(downstream, spec.downstream_tls)
    if is_issuing:
        names = domains if domains is not None else [domain.name for domain in host.domains.all()]
        with errors.under("downstream_tls.issue"):
            check_issuable(names)
    traffic = TrafficConfiguration(host=host) if is_new else host.traffic_configuration
    apply_traffic(traffic, spec, errors)
    sections = list(apply_sections(host, spec.sections, errors, is_new=is_new))
    errors.raise_if_any()
    if is_issuing:
        issue_certificate(downstream, host=host, domains=names)
    host.save()
    if domains is not None:
        write_domains(host, domains)
    if gone:
        host.upstreams.filter(pk__in=[upstream.pk for upstream in gone]).delete()
    for upstream in upstreams:
        upstream.save()
    for row in (configuration, downstream, traffic, *sections):
        row.save()
    publish_on_commit([host.pk])


def _assign(host: Host, spec: HostSpec) -> None:
    for name in ("enabled", "preserve_host", "websockets", "access_log", "load_balancing"):
        if (value := getattr(spec, name)) is not KEEP:
            setattr(host, name, value)
    if not isinstance(spec.name, Keep):
        host.name = spec.name.strip()


def _clean_upstreams(
    host: Host, specs: Sequence[UpstreamSpec], errors: FieldErrors
) -> tuple[Sequence[Upstream], Sequence[Upstream]]:
    """The upstreams that a host will have, and those of its stored ones that it will not have any more."""
    if len(specs) > MAX_UPSTREAMS:
        with errors.under("upstreams"):
            raise ValidationError(f"A host has at most {MAX_UPSTREAMS} upstreams.", code="max_length")
    stored = {upstream.pk: upstream for upstream in host.upstreams.all()} if not host._state.adding else {}
    by_target = {_target(upstream): upstream for upstream in stored.values()}
    upstreams = []
    for position, spec in enumerate(specs):
        upstream = Upstream(
            position=position,
            scheme=spec.scheme,
            address=spec.address,
            port=spec.port,
            enabled=spec.enabled,
            weight=spec.weight,
            backup=spec.backup,
            drain=spec.drain,
        )
        with errors.under(f"upstreams[{position}]"):
            # Nothing but its key is unique, and choices and validators say what the constraints say.
            upstream.full_clean(exclude={"host"}, validate_unique=False, validate_constraints=False)
        upstream.host = host
        same = stored.get(spec.upstream_id) if spec.upstream_id else by_target.get(_target(upstream))
        if same is not None and stored.pop(same.pk, None) is not None:
            upstream.pk = same.pk
            upstream._state.adding = False
        elif spec.upstream_id and spec.brings_id:
            upstream.pk = spec.upstream_id
        upstreams.append(upstream)
    return upstreams, list(stored.values())


def _target(upstream: Upstream) -> tuple[str, str, int]:
    return upstream.scheme, upstream.address, upstream.port
