"""What if, with a whole Aegis: the queue, the worker's threads, and upstreams of every kind at once."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority
from tests.support.instance import Instance, request
from tests.support.plain_upstream import answering
from upstream_tls.zoo.running import Running, run_zoo

pytestmark = pytest.mark.e2e

GOOD = 12
SILENT = 9


@pytest.fixture(scope="module")
def old() -> Iterator[Running]:
    with run_zoo(["only-tls-12"]) as zoo:
        yield zoo["only-tls-12"]


def test_a_mixed_fleet_is_answered_in_time(
    aegis: Instance, host_document: HostDocument, client_ca: Authority, old: Running
) -> None:
    """What hangs costs its own verdict and no other; everything is tested, and nothing stays behind."""
    leaf = client_ca.client("orders client")
    spec = old.spec
    tls = {
        "enabled": True,
        "client_certificate": spec.client_chain_pem.decode(),
        "client_key": spec.client_key_pem.decode(),
        "ca_certificate": spec.ca_pem.decode(),
        "server_name": spec.server_name,
    }
    with answering(None) as port:
        silent = [{"scheme": "https", "address": "127.0.0.1", "port": port}]
        documents = [
            *(host_document(leaf, upstreams=silent) for _ in range(SILENT)),
            *(host_document(leaf) for _ in range(GOOD)),
            host_document(upstreams=[{**silent[0], "port": old.port}], upstream_tls=tls),
        ]
        hosts = [aegis.create_host(**document)["id"] for document in documents]
        begun = time.monotonic()
        answer = request(
            aegis.web_port,
            "/api/v1/what-if",
            method="POST",
            body=json.dumps({"change": {"min_version": "TLSv1.3"}, "hosts": hosts}),
            headers={"Authorization": f"Token {aegis.token}", "Content-Type": "application/json"},
            timeout_s=40,
        )
        took_s = time.monotonic() - begun
    assert answer.status == 200, answer
    document = answer.json
    verdicts = {name: document[name] for name in ("breaks", "works", "already_failing", "not_tested")}
    assert verdicts == {"breaks": 1, "works": GOOD, "already_failing": SILENT, "not_tested": 0}, document
    assert document["is_complete"]
    assert document["hosts"][0]["upstreams"][0]["code"] == "protocol_version"
    assert took_s < 30
    for host in hosts:
        assert aegis.api("DELETE", f"hosts/{host}").status == 204
