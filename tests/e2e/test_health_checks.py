"""Active health checks with a whole Aegis: beat, worker, Valkey, and upstreams on loopback."""

import datetime
import signal
from typing import Any

import pytest
from redis import Redis

from proxyworker.snapshot import HEALTH_BEAT, HEALTH_DOWN, HEALTH_HASH, HEALTH_UP
from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Instance
from tests.support.polling import eventually
from tests.support.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CHECK = {"enabled": True, "interval_s": 1, "timeout_s": 0.9, "healthy_after": 1, "unhealthy_after": 2}
# What a worker had taken when it was killed, or when its scheduler was, has been begun by then.
TAKEN_BEFORE = datetime.timedelta(seconds=2)
RESUMED_WITHIN_S = 15


@pytest.fixture
def leaf(client_ca: Authority) -> Leaf:
    return client_ca.client("orders client")


def health(aegis: Instance, host_id: str) -> list[dict[str, Any]]:
    answer = aegis.api("GET", f"hosts/{host_id}/health")
    assert answer.status == 200, answer.body
    upstreams: list[dict[str, Any]] = answer.json["upstreams"]
    return upstreams


def feed(aegis: Instance) -> tuple[dict[bytes, bytes], int]:
    """The entries and the beat."""
    with Redis.from_url(f"unix://{aegis.data_dir}/valkey.sock") as client:
        return client.hgetall(HEALTH_HASH), int(client.get(HEALTH_BEAT) or 0)


def last_check_at(aegis: Instance, host_id: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(health(aegis, host_id)[0]["last_check"]["at"])


def hears_checks(aegis: Instance) -> bool:
    """As the proxy worker itself says."""
    [worker] = aegis.api("GET", "workers").json["results"]
    return bool(worker["health_feed_is_current"])


def make(aegis: Instance, document: dict[str, Any]) -> str:
    answer = aegis.api("POST", "hosts", document)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def test_nginx_is_checked_with_the_certificate_of_the_traffic(
    aegis: Instance, host_document: HostDocument, leaf: Leaf
) -> None:
    """It is well with it, and a port that nobody listens at is not; workers read both."""
    document = host_document(leaf, health_check=CHECK)
    document["upstreams"].append({"scheme": "https", "address": "127.0.0.1", "port": free_port()})
    host_id = make(aegis, document)
    eventually(lambda: [up["state"] for up in health(aegis, host_id)] == ["healthy", "unhealthy"], within_s=30)
    well, refused = health(aegis, host_id)
    assert (well["last_check"]["status"], well["last_check"]["code"]) == (200, "")
    assert refused["last_check"]["code"] == "connection_refused"
    entries, beat = feed(aegis)
    assert beat
    assert (entries[well["id"].encode()], entries[refused["id"].encode()]) == (HEALTH_UP, HEALTH_DOWN)
    assert aegis.api("DELETE", f"hosts/{host_id}").status == 204
    eventually(lambda: not {well["id"].encode(), refused["id"].encode()} & feed(aegis)[0].keys(), within_s=15)


def test_check_test_and_traffic_agree(
    aegis: Instance, host_document: HostDocument, leaf: Leaf, server_ca: Authority
) -> None:
    """A real nginx that demands a certificate: without one, and with another CA's trust, all three refuse alike."""
    other = Authority("Another CA")
    cases = [
        (host_document(leaf), ""),
        (host_document(None), "client_certificate_required"),
        (host_document(other.client("stranger")), "client_certificate_rejected"),
    ]
    stranger = host_document(leaf)
    stranger["upstream_tls"]["ca_certificate"] = other.pem
    cases.append((stranger, "unknown_authority"))
    for document, code in cases:
        host_id = make(aegis, {**document, "health_check": {**CHECK, "timeout_s": 0.9}})
        tested = aegis.api("POST", f"hosts/{host_id}/test-upstream-tls").json
        assert (tested["error"] or {"code": ""})["code"] == code
        eventually(lambda host_id=host_id: health(aegis, host_id)[0]["state"] != "unknown", within_s=30)  # type: ignore[misc]
        [upstream] = health(aegis, host_id)
        assert (upstream["state"], upstream["last_check"]["code"]) == ("unhealthy" if code else "healthy", code)
        assert (aegis.proxy(document["domains"][0]).status == 200) == (not code)
        assert aegis.api("DELETE", f"hosts/{host_id}").status == 204


@pytest.mark.parametrize(
    "child",
    ["worker", pytest.param("beat", marks=pytest.mark.soak), pytest.param("valkey", marks=pytest.mark.soak)],
)
def test_checks_go_on_after_a_kill(aegis: Instance, host_document: HostDocument, leaf: Leaf, child: str) -> None:
    """Within fifteen seconds; nobody is marked down because of it, and the workers hear the checks again."""
    host_id = make(aegis, host_document(leaf, health_check=CHECK))
    eventually(lambda: health(aegis, host_id)[0]["state"] == "healthy", within_s=30)
    aegis.signal(child, signal.SIGKILL)
    killed_at = datetime.datetime.now(datetime.UTC)

    def is_checked() -> bool:
        return last_check_at(aegis, host_id) > killed_at + TAKEN_BEFORE and bool(feed(aegis)[0])

    eventually(is_checked, within_s=RESUMED_WITHIN_S)
    [upstream] = health(aegis, host_id)
    assert [change["state"] for change in upstream["transitions"]] == ["healthy"]
    assert all(minute["failures"] == 0 for minute in upstream["last_hour"])
    eventually(lambda: hears_checks(aegis), within_s=RESUMED_WITHIN_S)
    assert aegis.api("DELETE", f"hosts/{host_id}").status == 204
