"""gunicorn_config: one small process, bound where the operator says."""

import importlib
import ipaddress

import pytest
from django.conf import settings
from gunicorn.config import Config

from aegis_site import gunicorn_config


def test_it_listens_on_the_configured_address_only() -> None:
    """No control socket beside it."""
    assert gunicorn_config.bind == [settings.AEGIS_WEB_BIND]
    assert gunicorn_config.control_socket_disable


def test_who_is_believed_about_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies in front that are trusted with the client's address, and this machine; gunicorn can read them all."""
    monkeypatch.setenv("AEGIS_WEB_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7")
    try:
        words = importlib.reload(gunicorn_config).forwarded_allow_ips
    finally:
        monkeypatch.undo()
        importlib.reload(gunicorn_config)
    configuration = Config()
    configuration.set("forwarded_allow_ips", words)
    networks = [ipaddress.ip_network(word) for word in configuration.forwarded_allow_ips]
    assert [str(network) for network in networks] == ["127.0.0.1/32", "::1/128", "10.0.0.0/8", "192.0.2.7/32"]


def test_it_is_one_process_with_threads() -> None:
    """Memory is for the proxy; twenty people who wait for a connection test leave threads for others."""
    assert (gunicorn_config.workers, gunicorn_config.worker_class) == (1, "aegis_site.web_worker.WebWorker")
    assert gunicorn_config.threads >= 20 + 8


def test_it_logs_as_all_of_aegis_does() -> None:
    """One format; its own messages only when something is wrong."""
    configuration = gunicorn_config.logconfig_dict
    assert configuration["root"]["handlers"] == ["stderr"]
    assert {logger["level"] for logger in configuration["loggers"].values()} == {"WARNING"}
