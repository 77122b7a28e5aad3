"""gunicorn_config: one small process, bound where the operator says."""

from django.conf import settings

from aegis_site import gunicorn_config


def test_it_listens_on_the_configured_address_only() -> None:
    """No control socket beside it."""
    assert gunicorn_config.bind == [settings.AEGIS_WEB_BIND]
    assert gunicorn_config.control_socket_disable


def test_it_is_one_process_with_threads() -> None:
    """Memory is for the proxy; twenty people who wait for a connection test leave threads for others."""
    assert (gunicorn_config.workers, gunicorn_config.worker_class) == (1, "gthread")
    assert gunicorn_config.threads >= 20 + 8


def test_it_logs_as_all_of_aegis_does() -> None:
    """One format; its own messages only when something is wrong."""
    configuration = gunicorn_config.logconfig_dict
    assert configuration["root"]["handlers"] == ["stderr"]
    assert {logger["level"] for logger in configuration["loggers"].values()} == {"WARNING"}
