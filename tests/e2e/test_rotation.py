"""Rotations of a running Aegis, before a real nginx whose trust changes."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import UPSTREAM_NAME, HostDocument
from tests.soak.client import Tally, put_load
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Instance
from tests.support.nginx import Nginx, seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

OTHER_CA = Authority("Next client CA")
CLIENTS = 20


@pytest.fixture
def upstream(tmp_path_factory: pytest.TempPathFactory, server_ca: Authority, client_ca: Authority) -> Iterator[Nginx]:
    """It trusts both CAs, until a test says otherwise."""
    directory = tmp_path_factory.mktemp("rotating")
    server = server_ca.server(UPSTREAM_NAME)
    pem = client_ca.pem + OTHER_CA.pem
    with Nginx(directory, server=server, client_ca_pem=pem, is_reloadable=True, forbidden="CN=stranger") as running:
        yield running


@pytest.fixture
def host(aegis: Instance, upstream: Nginx, host_document: HostDocument, client_ca: Authority) -> dict[str, Any]:
    """It presents a certificate of the first CA."""
    document = host_document(client_ca.client("previous"))
    created = aegis.create_host(**document | {"upstreams": [{"address": "127.0.0.1", "port": upstream.port}]})
    eventually(lambda: presented(aegis, created) == "CN=previous", within_s=5)
    return created


def presented(aegis: Instance, host: dict[str, Any]) -> str:
    """The subject that the upstream sees; what it answers instead when it refuses it."""
    answer = aegis.proxy(host["domains"][0])
    return seen(answer.body)["subject"] if answer.status == 200 else str(answer.status)


def stage(aegis: Instance, host: dict[str, Any], leaf: Leaf, **more: Any) -> str:
    document = {"client_certificate": leaf.chain_pem, "client_key": leaf.key_pem, **more}
    answer = aegis.api("POST", f"hosts/{host['id']}/rotations", document)
    assert answer.status == 201, answer.body
    assert b"PRIVATE KEY" not in answer.body
    return f"rotations/{answer.json['id']}"


def state(aegis: Instance, rotation: str) -> str:
    found: str = aegis.api("GET", rotation).json["state"]
    return found


def test_a_candidate_that_is_refused_is_never_presented(
    aegis: Instance, upstream: Nginx, host: dict[str, Any], client_ca: Authority
) -> None:
    """And one that is refused after its promotion is rolled back within ten seconds."""
    upstream.trust(client_ca.pem)
    rotation = stage(aegis, host, OTHER_CA.client("next"))
    eventually(lambda: state(aegis, rotation) == "refused", within_s=10)
    assert presented(aegis, host) == "CN=previous"
    assert aegis.api("POST", f"{rotation}/cancel").status == 200
    assert aegis.api("GET", rotation).json["promoted_at"] is None

    upstream.trust(client_ca.pem + OTHER_CA.pem)
    rotation = stage(aegis, host, OTHER_CA.client("next"))
    eventually(lambda: presented(aegis, host) == "CN=next", within_s=10)
    upstream.trust(client_ca.pem)
    eventually(lambda: presented(aegis, host) == "CN=previous", within_s=10)
    found = aegis.api("GET", rotation).json
    assert (found["state"], found["code"]) == ("rolled_back", "client_certificate_rejected")


def test_an_application_that_refuses_the_new_identity_has_it_rolled_back(aegis: Instance, host: dict[str, Any]) -> None:
    """Under load, within ten seconds: it answers 403 where no probe asks. What was counted is what was sent."""
    answers: Counter[int] = Counter()
    is_over = threading.Event()

    def load() -> None:
        while not is_over.wait(0.01):
            answers[aegis.proxy(host["domains"][0], "/account").status] += 1

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(load)
        try:
            eventually(lambda: answers[200] > 100, within_s=20)
            rotation = stage(aegis, host, OTHER_CA.client("stranger"))
            eventually(lambda: answers[403] > 0, within_s=10)
            refused_s = time.monotonic()
            eventually(lambda: state(aegis, rotation) == "rolled_back", within_s=10)
            assert time.monotonic() - refused_s < 10
            admitted = answers[200]
            eventually(lambda: answers[200] > admitted, within_s=5)
        finally:
            is_over.set()
        asking.result()
    found = aegis.api("GET", rotation).json
    assert found["code"] == "errors_rose"
    assert "requests with the new certificate failed" in found["message"]
    # And the one with which the host was seen to be there.
    sent = (answers.total() + 1, answers[403], 0)
    eventually(lambda: counted(aegis, host) == sent, within_s=15)


def counted(aegis: Instance, host: dict[str, Any]) -> tuple[int, int, int]:
    """Requests, refusals and errors of the last hour."""
    total = aegis.api("GET", f"hosts/{host['id']}/traffic").json["total"]
    return total["requests"], total["client_errors"], total["server_errors"]


def under_load(
    aegis: Instance, host: dict[str, Any], *, seconds: float, rate: float
) -> "tuple[ThreadPoolExecutor, Future[Tally]]":
    pool = ThreadPoolExecutor(1)

    def load() -> Tally:
        return asyncio.run(
            put_load(aegis.proxy_port, host["domains"], lambda *_: "", seconds=seconds, clients=CLIENTS, rate=rate)
        )

    return pool, pool.submit(load)


def rotate_under_load(aegis: Instance, host: dict[str, Any], *, seconds: float, rate: float) -> Tally:
    """Rotates there and back while clients ask."""
    pool, load = under_load(aegis, host, seconds=seconds, rate=rate)
    with pool:
        stage(aegis, host, OTHER_CA.client("next"))
        eventually(lambda: presented(aegis, host) == "CN=next", within_s=10)
        tally = load.result()
    assert (tally.failures, dict(tally.refused), tally.wrong) == ([], {}, [])
    return tally


def test_a_rotation_under_load_fails_no_request(aegis: Instance, host: dict[str, Any]) -> None:
    """A few hundred requests a second, as the suite has room for."""
    tally = rotate_under_load(aegis, host, seconds=4, rate=300)
    assert tally.right > 600


@pytest.mark.soak
def test_a_rotation_at_two_thousand_requests_a_second(aegis: Instance, host: dict[str, Any]) -> None:
    """For a minute, so that the old connections drain and the rotation ends within it."""
    tally = rotate_under_load(aegis, host, seconds=75, rate=2000)
    print(  # noqa: T201 (the summary is what `make soak` is for)
        f"{tally.right / 75:.0f} requests a second, none failed, slowest {tally.slowest_s * 1000:.0f} ms"
    )
    assert aegis.api("GET", f"hosts/{host['id']}/rotations").json["results"][0]["state"] == "done"
    assert tally.right > 75 * 1000
