"""Hosts as they would be: complete, checked, and not saved.

Laws of this module:
- All errors of a request at once, keyed by path: `name`, `domains`, `upstreams[0].address`, `upstream_tls.client_key`.
- Nothing is written, and nothing is read but what `Claims` answers. So any number of hosts can be checked before the
  transaction that writes them, which keeps everybody else waiting on a database with one writer.
- A draft is of the host as it was read. Who saves it later has to see that it is still that (`Host.updated_at`).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.core.exceptions import ValidationError
from django.db import models

from aegis_site.kernel.audit.actor import Actor
from hosts.downstream_tls import apply_downstream_tls, check_issuable
from hosts.field_errors import FieldErrors
from hosts.models import Domain, DownstreamTLSConfiguration, Host, Upstream
from hosts.sections import apply_sections
from hosts.selectors import domains_of_other_hosts
from hosts.specs import HostSpec, UpstreamSpec
from hosts.traffic import apply_traffic
from hosts.traffic_models import TrafficConfiguration
from hosts.validators import clean_domain, clean_tags
from upstream_tls.changes import KEEP, Keep
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes

MAX_DOMAINS = 500
MAX_UPSTREAMS = 100


class Claims(Protocol):
    """Which names and domains belong to others."""

    def is_name_taken(self, name: str, *, host_id: uuid.UUID) -> bool:
        """Whether another host has this name."""

    def owners(self, domains: Sequence[str], *, host_id: uuid.UUID) -> Mapping[str, str]:
        """Of these domains those of other hosts, with the names of these."""


class _Stored:
    """As the database has it now. One query for each question."""

    def is_name_taken(self, name: str, *, host_id: uuid.UUID) -> bool:
        return Host.objects.filter(name=name).exclude(pk=host_id).exists()

    def owners(self, domains: Sequence[str], *, host_id: uuid.UUID) -> Mapping[str, str]:
        return {domain.name: domain.host.name for domain in domains_of_other_hosts(domains, host_id=host_id)}


STORED: Claims = _Stored()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDraft:
    """One host with its new values.

    `domains` and `upstreams` are None when they are kept; `gone` are stored upstreams that are to be deleted. `rows`
    are those of which a host has one each. `is_issuing`: the local CA is to issue a certificate for `names` to
    `downstream`, which is one of `rows`.
    """

    host: Host
    domains: list[str] | None
    upstreams: Sequence[Upstream] | None
    gone: Sequence[Upstream]
    downstream: DownstreamTLSConfiguration
    rows: Sequence[models.Model]
    is_issuing: bool
    names: Sequence[str]

    def as_loaded(self) -> Host:
        """The host as if it had been saved and read again `with_configuration`. No query for a host that was."""
        if self.domains is not None:
            _show(self.host, "domains", self.domain_rows())
        if self.upstreams is not None:
            _show(self.host, "upstreams", self.upstreams)
        return self.host

    def domain_rows(self) -> list[Domain]:
        """The domains in order; those that are stored keep their row. No query for a host read `with_configuration`."""
        stored = {} if self.host._state.adding else {domain.name: domain for domain in self.host.domains.all()}
        rows = [stored.get(name) or Domain(host=self.host, name=name) for name in self.domains or ()]
        for position, row in enumerate(rows):
            row.position = position
        return rows


def draft_host(host: Host, spec: HostSpec, *, claims: Claims, user: Actor | None) -> HostDraft:
    """`host`, new or stored, as `spec` wants it. Raises ValidationError; the host must then not be saved.

    No query for a stored host `with_configuration`, but for those of `claims`.
    """
    errors = FieldErrors()
    is_new = host._state.adding
    _assign(host, spec)
    if not isinstance(spec.tags, Keep):
        with errors.under("tags"):
            host.tags = clean_tags(spec.tags)
    _check_host(host, claims, errors)
    domains: list[str] | None = None
    if is_new or spec.domains is not KEEP:
        with errors.under("domains"):
            wanted = () if isinstance(spec.domains, Keep) else spec.domains
            domains = clean_domains(wanted, host_id=host.pk, claims=claims)
    upstreams: Sequence[Upstream] | None = None
    gone: Sequence[Upstream] = ()
    if not isinstance(spec.upstreams, Keep):
        upstreams, gone = _clean_upstreams(host, spec.upstreams, errors)
    configuration = UpstreamTLSConfiguration(host=host) if is_new else host.upstream_configuration
    with errors.under("upstream_tls"):
        apply_changes(configuration, spec.upstream_tls, user_name=user.get_username() if user is not None else "")
    downstream = DownstreamTLSConfiguration(host=host) if is_new else host.downstream_configuration
    is_issuing = spec.downstream_tls.issue is True
    with errors.under("downstream_tls"):
        apply_downstream_tls(downstream, spec.downstream_tls)
    names: Sequence[str] = ()
    if is_issuing:
        names = domains if domains is not None else [domain.name for domain in host.domains.all()]
        with errors.under("downstream_tls.issue"):
            check_issuable(names)
    traffic = TrafficConfiguration(host=host) if is_new else host.traffic_configuration
    apply_traffic(traffic, spec, errors)
    sections = list(apply_sections(host, spec.sections, errors, is_new=is_new))
    errors.raise_if_any()
    return HostDraft(
        host=host,
        domains=domains,
        upstreams=upstreams,
        gone=gone,
        downstream=downstream,
        rows=(configuration, downstream, traffic, *sections),
        is_issuing=is_issuing,
        names=names,
    )


def clean_domains(names: Iterable[str], *, host_id: uuid.UUID, claims: Claims = STORED) -> list[str]:
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
        ValidationError(f"{domain} is already a domain of the host {owner}.", code="unique")
        for domain, owner in claims.owners(list(domains), host_id=host_id).items()
    )
    if not domains and not errors:
        errors.append(ValidationError("Enter at least one domain.", code="required"))
    if errors:
        raise ValidationError(errors)
    return list(domains)


def _show(host: Host, relation: str, rows: Sequence[Domain] | Sequence[Upstream]) -> None:
    """Make these the rows that `relation` has without asking the database: what `prefetch_related` does."""
    shown: Any = getattr(host, relation).none()
    shown._result_cache = list(rows)
    host.__dict__.setdefault("_prefetched_objects_cache", {})[relation] = shown


def _check_host(host: Host, claims: Claims, errors: FieldErrors) -> None:
    wrong: dict[str, list[ValidationError]] = {}
    try:
        # Choices say what the constraints say; asking the database for each would make an import wait.
        host.full_clean(exclude={"id"}, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        wrong = error.error_dict
    # What is no name at all is no question for a database.
    if "name" not in wrong and claims.is_name_taken(host.name, host_id=host.pk):
        wrong["name"] = [host.unique_error_message(Host, ("name",))]
    if wrong:
        with errors.under(""):
            raise ValidationError(wrong)


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
