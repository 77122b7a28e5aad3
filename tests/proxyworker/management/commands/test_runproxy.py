"""`manage.py runproxy`. That it serves traffic is shown by tests/proxyworker/test_service.py and the e2e tests."""

import fcntl
import os
import socket
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.core.management.base import CommandError

from aegis_site.kernel.keyring import KeyringError
from proxyworker.management.commands import runproxy


def test_without_a_keyring_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with the keyring's own words, before it installs a reactor."""

    def broken() -> None:
        raise KeyringError("missing_key", "AEGIS_SSL_KEY is not set")

    monkeypatch.setattr(runproxy, "get_keyring", broken)
    monkeypatch.setattr(runproxy.asyncioreactor, "install", lambda loop: pytest.fail("a reactor was installed"))
    with pytest.raises(CommandError, match="AEGIS_SSL_KEY is not set"):
        call_command("runproxy")


def test_what_the_worker_is_told(settings: LazySettings) -> None:
    """Listeners, those with the PROXY protocol among them, trusted proxies and limits."""
    settings.AEGIS_PROXY_HTTP = ["0.0.0.0:80", "10.0.0.1:81 proxy_protocol"]
    settings.AEGIS_PROXY_HTTPS = ["[::]:443 proxy_protocol"]
    settings.AEGIS_TRUSTED_PROXIES = ("10.0.0.0/8",)
    settings.AEGIS_PROXY_LIMITS = {"head_s": 2.0}
    settings.AEGIS_PROXY_MAX_CONNECTIONS = 1000
    settings.AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT = 20
    told = runproxy.service_settings()
    assert told.http == [("0.0.0.0", 80), ("10.0.0.1", 81)]
    assert told.https == [("::", 443)]
    assert told.proxy_protocol == {("10.0.0.1", 81), ("::", 443)}
    assert "10.2.3.4" in told.trusted_proxies
    assert (told.limits.head_s, told.limits.keep_alive_s) == (2.0, 75.0)
    assert (told.max_connections, told.max_connections_per_client) == (1000, 20)


def test_more_than_one_worker_is_a_group(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> None:
    """The process turns into the small one that supervises them, and never installs a reactor."""

    class Became(Exception):
        pass

    def become() -> None:
        raise Became

    monkeypatch.setattr("aegis_site.proxy_group.become", become)
    monkeypatch.setattr(runproxy.asyncioreactor, "install", lambda loop: pytest.fail("a reactor was installed"))
    settings.AEGIS_PROXY_PROCESSES = 2
    with pytest.raises(Became):
        call_command("runproxy")


def test_a_worker_is_named_by_what_outlives_it(settings: LazySettings, tmp_path: Path) -> None:
    """Host, port and number: a worker that is started again takes the row of the one before."""
    settings.AEGIS_PROXY_HTTP, settings.AEGIS_PROXY_HTTPS = [], []
    settings.AEGIS_PROXY_METRICS = "127.0.0.1:9180"
    host = socket.gethostname()
    assert runproxy.service_settings().worker_id == f"{host}:9180"


def test_a_worker_of_a_group_takes_over_what_it_inherits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its sockets in their order, and behind them where it says that it ends; no child of its own gets them."""
    from proxyworker.service import ServiceSettings

    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        first = fcntl.fcntl(listening.fileno(), fcntl.F_DUPFD, 200)
        last = fcntl.fcntl(writing, fcntl.F_DUPFD, first + 1)
        assert last == first + 1
        monkeypatch.setattr("aegis_site.supervisor.FIRST_DESCRIPTOR", first)
        address = listening.getsockname()
        alone = ServiceSettings(
            http=[address],
            https=[],
            management=("127.0.0.1", 9180),
            redis_url="",
            version="",
            worker_id="host:9180",
            drain_delay_s=5,
        )
        settings = runproxy._in_group(alone, 3, tmp_path)
        assert settings.worker_id == "host:9180/3"
        assert settings.management == tmp_path / f"3-{os.getpid()}.sock"
        assert settings.drain_delay_s == 5
        assert not os.get_inheritable(first)
        assert not os.get_inheritable(last)
        with settings.sockets[address] as inherited:
            assert inherited.getsockname() == address
        assert settings.step_down is not None
        settings.step_down()
        assert os.read(reading, 10) == b"x"
        os.close(reading)
        settings.step_down()
    for descriptor in (writing, last):
        os.close(descriptor)
