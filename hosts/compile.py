"""Turns a host's rows into the entry that the workers load.

Laws of this module: no writes, no clock; the same rows give the same entry, byte for byte, but for an
exception from verification, which ends with its date whatever its row says. Nothing is made laxer than
configured: what cannot be used is compiled as it stands, and the worker refuses it.
"""

import dataclasses
import datetime
from typing import Literal, NamedTuple, TypeVar, cast

from aegis_site.kernel.fields import Sealed
from hosts.models import Host
from hosts.traffic_models import StoredRules, TrafficConfiguration
from proxyworker.snapshot import (
    Deadlines,
    DownstreamTLS,
    HeaderRule,
    HostEntry,
    HostLimits,
    LoadBalancing,
    PassiveHealth,
    Retries,
    Upstream,
    UpstreamTLS,
)
from upstream_tls.models import UpstreamTLSConfiguration

Section = TypeVar("Section", Deadlines, PassiveHealth, Retries, HostLimits)


class Compiled(NamedTuple):
    """An entry, and what travels beside it, as sealed in the rows of the host.

    A key is None unless its certificate is presented, `header_secrets` unless a rule has a secret value.
    """

    entry: HostEntry
    client_key: Sealed | None
    downstream_key: Sealed | None
    header_secrets: Sealed | None


def compile_host(host: Host, *, now: datetime.datetime) -> Compiled:
    """An enabled host for the workers. No query when `with_configuration` was used."""
    configuration = host.upstream_configuration
    downstream = host.downstream_configuration
    traffic = host.traffic_configuration
    entry = HostEntry(
        host_id=str(host.pk),
        name=host.name,
        domains=tuple(domain.name for domain in host.domains.all()),
        preserve_host=host.preserve_host,
        websockets=host.websockets,
        access_log=host.access_log,
        load_balancing=cast("LoadBalancing", str(host.load_balancing)),
        upstreams=_upstreams(host),
        upstream_tls=_upstream_tls(configuration, now),
        downstream_tls=DownstreamTLS(
            certificate=downstream.certificate,
            key_spki_sha256=downstream.key_spki_sha256,
            force_https=downstream.force_https,
            hsts_max_age_s=downstream.hsts_max_age_s,
        ),
        deadlines=_section(Deadlines, traffic),
        passive_health=_section(PassiveHealth, traffic),
        retries=_section(Retries, traffic),
        limits=_section(HostLimits, traffic),
        request_headers=_header_rules(traffic.request_headers),
        response_headers=_header_rules(traffic.response_headers),
    )
    return Compiled(
        entry=entry,
        client_key=configuration.client_key if configuration.enabled else None,
        downstream_key=downstream.key,
        header_secrets=traffic.header_secrets,
    )


def _upstreams(host: Host) -> tuple[Upstream, ...]:
    return tuple(
        Upstream(
            upstream_id=str(upstream.pk),
            scheme="https" if upstream.scheme == "https" else "http",
            address=upstream.address,
            port=upstream.port,
            weight=upstream.weight,
            backup=upstream.backup,
            drain=upstream.drain,
        )
        for upstream in host.upstreams.all()
        if upstream.enabled
    )


def _upstream_tls(configuration: UpstreamTLSConfiguration, now: datetime.datetime) -> UpstreamTLS:
    is_skipped, until = configuration.is_verification_skipped(now), configuration.skip_verify_until
    return UpstreamTLS(
        client_certificate=configuration.client_certificate if configuration.enabled else "",
        client_key_spki_sha256=configuration.client_key_spki_sha256 if configuration.enabled else "",
        ca_certificate=configuration.ca_certificate,
        skip_verify=is_skipped,
        skip_verify_until=until.timestamp() if is_skipped and until is not None else 0.0,
        server_name=configuration.server_name,
        verify_name=configuration.verify_name,
        min_version=configuration.min_version,
        max_version=configuration.max_version,
        ciphers=configuration.ciphers,
        alpn=tuple(configuration.alpn),
        crl=configuration.crl,
        pinned_spki_sha256=tuple(configuration.pinned_spki_sha256),
        verify_depth=configuration.verify_depth,
    )


def _section(kind: type[Section], traffic: TrafficConfiguration) -> Section:
    """The columns are named as the fields."""
    return kind(**{field.name: getattr(traffic, field.name) for field in dataclasses.fields(kind)})


def _header_rules(rules: StoredRules) -> tuple[HeaderRule, ...]:
    return tuple(
        HeaderRule(
            action=cast("Literal['set', 'add', 'remove']", rule["action"]),
            name=rule["name"],
            value=rule.get("value", ""),
            secret=rule.get("secret", ""),
        )
        for rule in rules
    )
