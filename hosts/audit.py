"""Hosts in the audit log, and the requests for their certificates.

Laws of this module:
- A host is described by its columns under the API's names, so that a new column is recorded without being listed here.
- Of a sealed column it is said whether there is a secret; the public fingerprint beside it says which. Of a secret
  value of a header rule there is a mask, another for another value. What Aegis computes or numbers by itself is left
  out.
"""

import datetime
import uuid
from collections.abc import Collection
from typing import Any

from django.db import models

from aegis_site.kernel.audit.recording import Described, Kind
from aegis_site.kernel.fields import SealedField
from aegis_site.kernel.masking import masked
from hosts.models import Host
from hosts.sections import registered
from hosts.traffic import RULES, SECTION_OF, SECTIONS
from hosts.traffic_models import StoredRules, TrafficConfiguration
from upstream_tls.models import CertificateRequest

_OWN = frozenset(("id", "host", "position", "created_at", "updated_at"))


def _read_hosts(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Described]:
    """Three queries, or as many for each batch that the database can take at once."""
    hosts = Host.objects.with_configuration().in_bulk(list(ids))
    return {host_id: described(host) for host_id, host in hosts.items()}


HOSTS = Kind(target_type="host", read=_read_hosts)


def _read_requests(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Described]:
    """One query."""
    requests = CertificateRequest.objects.select_related("host").defer("key").in_bulk(list(ids))
    return {request_id: _described_request(request) for request_id, request in requests.items()}


CERTIFICATE_REQUESTS = Kind(target_type="certificate_request", read=_read_requests)


def _described_request(request: CertificateRequest) -> Described:
    document = {
        "host": request.host.name,
        "subject": request.subject,
        "subject_alt_names": list(request.subject_alt_names),
        "key_type": request.key_type.value,
        "key_spki_sha256": request.key_spki_sha256,
    }
    return Described(name=f"{request.host.name}: {request.subject}", document=document)


def described(host: Host) -> Described:
    """What is stored of a host, without secrets. No query `with_configuration`."""
    document = {
        **_columns(host),
        "domains": [domain.name for domain in host.domains.all()],
        "upstreams": [_columns(upstream) for upstream in host.upstreams.all()],
        "upstream_tls": _columns(host.upstream_configuration),
        "downstream_tls": _columns(host.downstream_configuration),
        **_traffic(host.traffic_configuration),
        **{section.name: _columns(section.row_of(host)) for section in registered()},
    }
    return Described(name=host.name, document=document)


def _columns(row: models.Model) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        if field.name in _OWN:
            continue
        value = getattr(row, field.attname)
        if isinstance(field, SealedField):
            values[f"{field.name}_set"] = value is not None
        else:
            values[field.name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _traffic(configuration: TrafficConfiguration) -> dict[str, Any]:
    document: dict[str, Any] = {section: {} for section in SECTIONS}
    for name, section in SECTION_OF.items():
        document[section][name] = getattr(configuration, name)
    for name in RULES:
        document[name] = _rules(getattr(configuration, name))
    return document


def _rules(rules: StoredRules) -> StoredRules:
    return [
        {
            "action": rule["action"],
            "name": rule["name"],
            "value": masked(rule["secret"]) if "secret" in rule else rule["value"],
        }
        for rule in rules
    ]
