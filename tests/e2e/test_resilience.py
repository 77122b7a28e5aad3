"""What dies comes back, and what waits for Redis does without."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority
from tests.support.instance import Instance
from tests.support.nginx import seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

BACK_WITHIN_S = 5.0
LIVE_WITHIN_S = 1.0
# Workers poll every five seconds when Redis is away.
LIVE_WITHOUT_REDIS_WITHIN_S = 6.0


@pytest.fixture
def host(aegis: Instance, host_document: HostDocument, client_ca: Authority) -> dict[str, Any]:
    """A host that answers 200."""
    created = aegis.create_host(**host_document(client_ca.client("steady")))
    eventually(lambda: subject(aegis, created) == "CN=steady", within_s=LIVE_WITHIN_S)
    return created


@pytest.fixture
def celery(aegis: Instance) -> Iterator[Celery]:
    """Speaks to the instance's Celery worker."""
    app = Celery(broker=f"redis+socket://{aegis.data_dir}/valkey.sock", set_as_current=False)
    yield app
    app.close()


def subject(aegis: Instance, host: dict[str, Any]) -> str:
    """The subject that nginx saw, or empty when the proxy does not answer 200."""
    try:
        answer = aegis.proxy(host["domains"][0])
    except OSError:
        return ""
    return seen(answer.body)["subject"] if answer.status == 200 else ""


def is_back(aegis: Instance, name: str, old_pid: int) -> bool:
    process = aegis.find(name)
    return process is not None and process.pid != old_pid


def works(celery: Celery) -> bool:
    """Whether the worker answers."""
    try:
        return bool(celery.control.ping(timeout=0.3))
    except celery.connection().connection_errors:
        return False


def change_identity(aegis: Instance, host: dict[str, Any], client_ca: Authority, common_name: str) -> None:
    identity = client_ca.client(common_name)
    tls = {"client_certificate": identity.chain_pem, "client_key": identity.key_pem}
    answer = aegis.api("PATCH", f"hosts/{host['id']}", {"upstream_tls": tls})
    assert answer.status == 200, answer.body


def test_a_killed_proxy_is_back_with_its_configuration(aegis: Instance, host: dict[str, Any]) -> None:
    """kill -9, and within five seconds the same request succeeds again."""
    pid = aegis.signal("proxy", signal.SIGKILL)
    eventually(lambda: is_back(aegis, "proxy", pid) and subject(aegis, host) == "CN=steady", within_s=BACK_WITHIN_S)
    assert aegis.metrics("/readyz").status == 200


def test_a_killed_web_process_is_back(aegis: Instance) -> None:
    """gunicorn's parent is killed; its child does not keep the port."""
    pid = aegis.signal("web", signal.SIGKILL)

    def answers() -> bool:
        try:
            return is_back(aegis, "web", pid) and aegis.web("/readyz").status == 200
        except OSError:
            return False

    eventually(answers, within_s=BACK_WITHIN_S)


def test_a_killed_celery_worker_is_back(aegis: Instance, host: dict[str, Any], celery: Celery) -> None:
    """It takes work again, and traffic never noticed."""
    pid = aegis.signal("worker", signal.SIGKILL)
    assert subject(aegis, host) == "CN=steady"
    eventually(lambda: is_back(aegis, "worker", pid) and works(celery), within_s=BACK_WITHIN_S)


def test_a_killed_scheduler_is_back(aegis: Instance) -> None:
    """beat is started again too."""
    pid = aegis.signal("beat", signal.SIGKILL)
    eventually(lambda: is_back(aegis, "beat", pid), within_s=BACK_WITHIN_S)


def test_a_killed_valkey_is_back_for_all_who_use_it(
    aegis: Instance, host: dict[str, Any], celery: Celery, client_ca: Authority
) -> None:
    """Traffic goes on, the Celery worker takes work again, and changes are soon live at once again."""
    pid = aegis.signal("valkey", signal.SIGKILL)
    assert subject(aegis, host) == "CN=steady"
    eventually(lambda: is_back(aegis, "valkey", pid) and works(celery), within_s=BACK_WITHIN_S)
    change_identity(aegis, host, client_ca, "after-the-crash")
    eventually(lambda: subject(aegis, host) == "CN=after-the-crash", within_s=LIVE_WITHOUT_REDIS_WITHIN_S)
    change_identity(aegis, host, client_ca, "at-once-again")
    eventually(lambda: subject(aegis, host) == "CN=at-once-again", within_s=LIVE_WITHIN_S)


def test_a_change_is_live_without_redis(aegis: Instance, host: dict[str, Any], client_ca: Authority) -> None:
    """A Valkey that hangs, which is worse than one that is gone, delays a change by the poll, no more."""
    pid = aegis.signal("valkey", signal.SIGSTOP)
    try:
        change_identity(aegis, host, client_ca, "polled")
        eventually(lambda: subject(aegis, host) == "CN=polled", within_s=LIVE_WITHOUT_REDIS_WITHIN_S)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_was_configured_before_is_still_there(aegis: Instance, host: dict[str, Any]) -> None:
    """No kill has lost a host."""
    assert aegis.api("GET", f"hosts/{host['id']}").status == 200
