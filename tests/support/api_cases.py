"""Generated requests for the API, put right as far as JSON Schema has no words for what is right.

Laws of this module: only valid values are replaced, by valid ones, so that what was meant to be wrong with a request
stays wrong; of four requests one is left as it was generated.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.idempotency.services import KEY_PATTERN
from hosts.api.views import HostViewSet
from hosts.models import Host
from localca.services import issue_client_certificate
from tests.hosts.examples import make_host, mtls

Body = dict[str, Any]

_numbers = itertools.count(1)


def put_right(case: Any) -> None:
    """Gets a request past what would stop nearly all of them: id, ETag, key, names, and what fits together."""
    number = next(_numbers)
    if number % 4 == 0:
        return
    headers = case.headers or {}
    if re.fullmatch(KEY_PATTERN, str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = f"key-{number}"
    for name in ("If-Match", "If-None-Match"):
        headers.pop(name, None)
    _put_id_right(case)
    if isinstance(case.body, dict) and not case.meta.generation.mode.is_negative:
        for needed, change in _BODIES:
            if needed <= set(case.body):
                change(case.body, number)


def _put_id_right(case: Any) -> None:
    path_parameters = case.path_parameters or {}
    if case.operation.path.startswith("/api/v1/audit/"):
        known = str(AuditEntry.objects.values_list("pk", flat=True).first() or 0)
        path_parameters.update({name: known for name, value in path_parameters.items() if str(value).isdecimal()})
    elif re.fullmatch(HostViewSet.lookup_value_regex, str(path_parameters.get("id", ""))):
        if case.operation.path.startswith("/api/v1/certificates/"):
            # A new one each time: what was renewed or revoked is neither again.
            path_parameters["id"] = str(issue_client_certificate(common_name="orders").record.pk)
        else:
            host = Host.objects.order_by("created_at").first() or make_host("again", upstream_tls=mtls())
            path_parameters["id"] = str(host.pk)


def _replace(body: Body, values: Body) -> None:
    """Where a value has the type of the new one, or is absent, and nothing else."""
    body |= {name: value for name, value in values.items() if isinstance(body.get(name, value), type(value))}


def _drop(body: Body, kinds: dict[str, type]) -> None:
    for name, kind in kinds.items():
        if isinstance(body.get(name), kind):
            del body[name]


def _host(body: Body, number: int) -> None:
    _replace(body, {name: value for name, value in _free_names(number).items() if name in body})


def _free_names(number: int) -> Body:
    return {"name": f"host {number}", "domains": [f"{number}.example"]}


def _order(body: Body, number: int) -> None:
    """For a new key that is made fast."""
    names = {"common_name": f"client {number}", "subject_alt_names": [f"DNS:{number}.example"]}
    _replace(body, {**names, "include_private_key": True})
    if isinstance(body.get("key_type"), str):
        body["key_type"] = "EC P-256"
    _drop(body, {"csr": str, "names_from_csr": bool})


def _renewal(body: Body, number: int) -> None:
    _replace(body, {"include_private_key": True})
    _drop(body, {"csr": str})


def _import(body: Body, number: int) -> None:
    _replace(body, {"hosts": [_free_names(number)]})
    _drop(body, {"sealing": dict})


def _test_mail(body: Body, number: int) -> None:
    server = {"host": "127.0.0.1", "from_address": "aegis@example.com"}
    _replace(body, {"to": "ops@example.com", "smtp": {**server, "password": ""}})


def _settings(body: Body, number: int) -> None:
    if isinstance(body["general"], dict):
        _replace(body["general"], {"site_name": f"Aegis {number}"})


def _what_if(body: Body, number: int) -> None:
    _replace(body, {"change": ({"min_version": "TLSv1.3"}, {"ca_certificate": ""})[number % 2]})
    _drop(body, {"hosts": list})


# By the fields that tell what a body is.
_BODIES: list[tuple[set[str], Callable[[Body, int], None]]] = [
    ({"name", "domains"}, _host),
    ({"purpose"}, _order),
    ({"include_private_key"}, _renewal),
    ({"aegis_export", "hosts"}, _import),
    ({"to"}, _test_mail),
    ({"general"}, _settings),
    ({"change"}, _what_if),
]
