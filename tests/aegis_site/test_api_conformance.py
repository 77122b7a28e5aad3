"""Whatever a client sends to `/api/v1`, it gets what the served OpenAPI document says; as each role.

`make fuzz` sends more: EXAMPLES is the number of random requests for each operation and kind of data.
"""

import dataclasses
import json
import os
import socket
from collections import Counter
from typing import Any

import hypothesis
import pytest
import schemathesis
from drf_spectacular.renderers import OpenApiJsonRenderer2
from schemathesis.config import SchemathesisConfig

from aegis_site.api_document import api_document
from aegis_site.wsgi import application
from hosts import connection_test_run
from hosts.exchange import sealing
from hosts.models import ProxyWorker
from localca.services import ensure_authority
from tests.hosts.examples import make_host, mtls, site
from tests.support.api_cases import put_right
from tests.support.ports import free_port
from tests.support.roles import user_of
from tests.support.tokens import token_of
from upstream_tls.tls.probe import probe

IS_FUZZING = "EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("EXAMPLES", "4"))

# Requests change data for real, and tests of connections are queued on commit.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(0 if IS_FUZZING else 120)]


# No generated ETag is the current one, and no generated Idempotency-Key is always new.
ACCEPTED = ["2xx", "304", "401", "403", "404", "409", "412", "422"]

CONFIG = {
    "seed": 5,
    "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
    "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
    "operations": [
        {
            # Names and domains belong to one host, certificates and keys fit together, upstreams speak TLS or not, mail
            # has an address, a passphrase opens what it sealed: JSON Schema has no words for that, so that of documents
            # which fit the schema most are refused with 400.
            "include-operation-id": operation_id,
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
        for operation_id in (
            "hosts_create",
            "hosts_update",
            "hosts_partial_update",
            "hosts_test_upstream_tls",
            "hosts_prove_enforcement",
            "hosts_import",
            "certificates_create",
            "certificates_renew",
            "settings_partial_update",
            "settings_test_email",
            "what_if",
        )
    ],
}


@pytest.fixture
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of connections go to a port of this machine where nobody listens, whatever address was generated.

    No name is looked up, and a second guard refuses every address that is not this machine's, should anything else want
    to connect.
    """
    free = free_port()

    def probe_here(spec: Any, target: Any, **options: Any) -> Any:
        return probe(spec, dataclasses.replace(target, address="127.0.0.1", port=free), **options)

    def found_here(host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", free))]

    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), address
        connect(self, address)

    monkeypatch.setattr(connection_test_run, "probe", probe_here)
    monkeypatch.setattr(socket, "getaddrinfo", found_here)
    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(autouse=True)
def fast_sealing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase costs a third of a second by design, and here come many."""
    monkeypatch.setattr(sealing, "_SCRYPT_N", 2)


def headers_of(role: str) -> dict[str, str]:
    """The token of a user of that role; there is something of everything to be found."""
    ensure_authority()
    host = make_host("orders", upstream_tls=mtls(), downstream_tls=site())
    ProxyWorker.objects.create(worker_id="here", rejected={str(host.pk): "why"}, last_seen_at=host.created_at)
    token = token_of(user_of(role)).secret
    return {"Authorization": f"Token {token}"}


def schema_for(**phases: bool) -> Any:
    """What `/api/v1/schema` serves (`test_api_document.py` compares), to be asked of the product's WSGI application."""
    config = {**CONFIG, "phases": {name: {"enabled": is_on} for name, is_on in phases.items()}}
    document = json.loads(OpenApiJsonRenderer2().render(api_document()))
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(config))
    schema.app = application
    return schema


def is_taken(case: Any) -> bool:
    """Of the coverage phase, which has some 650 cases for a host alone, the first 30 and then every twentieth.

    `make fuzz` takes them all.
    """
    if IS_FUZZING or case.meta is None or case.meta.phase.name.value != "coverage":
        return True
    seen = _seen[case.operation.label] = _seen[case.operation.label] + 1
    return seen <= 30 or seen % 20 == 0


_seen: Counter[str] = Counter()


settings = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),  # the fixture is one world for all requests of a test
)
# The coverage phase takes every bound and type of the document in turn. It costs most of the time, and what it
# finds does not depend on who asks, once somebody may do everything.
thorough = schema_for(stateful=False)
quick = schema_for(stateful=False, coverage=IS_FUZZING)


@thorough.parametrize()
@settings
def test_answers_are_as_documented(case: Any, administrator: dict[str, str]) -> None:
    """No 5xx, no undocumented status, no answer against its schema; bad data is refused, good data is not."""
    if is_taken(case):
        put_right(case)
        case.call_and_validate(headers=administrator)


@quick.parametrize()
@settings
def test_answers_to_a_viewer_are_as_documented(case: Any, viewer: dict[str, str]) -> None:
    """As above, for whoever only reads."""
    put_right(case)
    case.call_and_validate(headers=viewer)


@quick.parametrize()
@settings
def test_answers_to_an_operator_are_as_documented(case: Any, operator: dict[str, str]) -> None:
    """As above, for whoever changes hosts."""
    put_right(case)
    case.call_and_validate(headers=operator)


@pytest.fixture
def administrator(only_loopback: None) -> dict[str, str]:
    return headers_of("administrator")


@pytest.fixture
def operator(only_loopback: None) -> dict[str, str]:
    return headers_of("operator")


@pytest.fixture
def viewer(only_loopback: None) -> dict[str, str]:
    return headers_of("viewer")
