"""What the environment may say, and what is answered when it is wrong."""

from pathlib import Path

import pytest

from aegis_site.environment import BindAddress, EnvironmentProblem, read_environment

PRODUCTION = {"AEGIS_DATABASE_URL": "postgres://u:p@db/aegis", "AEGIS_REDIS_URL": "rediss://:p@redis:6380/0"}


def test_defaults_are_the_embedded_mode(tmp_path: Path) -> None:
    """Without any variable but the data directory: SQLite and a unix socket in there."""
    environment = read_environment({"AEGIS_DATA_DIR": str(tmp_path)})
    assert environment.is_embedded
    assert environment.database["NAME"] == str(tmp_path / "aegis.sqlite3")
    assert environment.redis_url == f"unix://{tmp_path}/valkey.sock"
    assert str(environment.web_bind) == "127.0.0.1:8000"
    assert [str(bind) for bind in environment.proxy_http] == ["0.0.0.0:8080"]
    assert [str(bind) for bind in environment.proxy_https] == ["0.0.0.0:8443"]
    assert str(environment.proxy_metrics) == "127.0.0.1:9180"
    assert not any(tmp_path.iterdir()), "reading the environment creates nothing"


def test_generated_secrets_are_read_and_the_environment_wins(tmp_path: Path) -> None:
    """`aegis.env` supplies what the process environment does not."""
    (tmp_path / "aegis.env").write_text("# made by up\nAEGIS_SSL_KEY=from-file=\nAEGIS_SECRET_KEY=also-from-file\n")
    environment = read_environment({"AEGIS_DATA_DIR": str(tmp_path), "AEGIS_SECRET_KEY": "mine"})
    assert environment.ssl_key == "from-file="
    assert environment.secret_key == "mine"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """`AEGIS_SSL_KEY_FILE` names a file with the key, and wins over the generated one."""
    (tmp_path / "aegis.env").write_text("AEGIS_SSL_KEY=generated\n")
    (tmp_path / "key").write_text("from-the-named-file\n")
    environment = read_environment({"AEGIS_DATA_DIR": str(tmp_path), "AEGIS_SSL_KEY_FILE": str(tmp_path / "key")})
    assert environment.ssl_key == "from-the-named-file"


def test_production_mode() -> None:
    """A database URL switches the embedded parts off."""
    environment = read_environment(PRODUCTION | {"AEGIS_SSL_KEY_PREVIOUS": "one, two"})
    assert not environment.is_embedded
    assert environment.database["ENGINE"] == "django.db.backends.postgresql"
    assert environment.redis_url == "rediss://:p@redis:6380/0"
    assert environment.ssl_key_previous == ("one", "two")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AEGIS_WEB_BIND": "localhost"}, "AEGIS_WEB_BIND: 'localhost' is not an address like 127.0.0.1:8000"),
        ({"AEGIS_PROXY_HTTP": "0.0.0.0:8080,1.2.3.4:x"}, "AEGIS_PROXY_HTTP: '1.2.3.4:x' is not an address"),
        ({"AEGIS_PROXY_METRICS": "127.0.0.1:70000"}, "AEGIS_PROXY_METRICS: '127.0.0.1:70000' is not"),
        ({"AEGIS_LOG_LEVEL": "loud"}, "AEGIS_LOG_LEVEL: 'loud' is none of INFO"),
        ({"AEGIS_REDIS_URL": "http://x"}, "AEGIS_REDIS_URL must start with redis://"),
        ({"AEGIS_DATABASE_URL": "postgres://db/aegis"}, "AEGIS_REDIS_URL is needed"),
        ({"AEGIS_DATABASE_URL": "mysql://db/aegis"}, "must be a postgres:// URL"),
        ({"AEGIS_DATA_DIR": "/" + "x" * 100}, "AEGIS_DATA_DIR is too long"),
    ],
)
def test_bad_values_are_named(variables: dict[str, str], message: str) -> None:
    """A value that cannot be used stops the start and names its variable."""
    with pytest.raises(EnvironmentProblem) as raised:
        read_environment(variables)
    assert message in str(raised.value)


def test_secrets_are_not_in_a_repr() -> None:
    """An Environment in a traceback shows no key, password or URL."""
    shown = repr(read_environment(PRODUCTION | {"AEGIS_SSL_KEY": "canary-key", "AEGIS_SECRET_KEY": "canary-django"}))
    assert "canary" not in shown
    assert ":p@" not in shown


@pytest.mark.parametrize(
    ("text", "shown", "url_host"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80", "[::1]:80"),
        (":80", "0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::]:80", "[::1]:80"),
        ("proxy.internal:80", "proxy.internal:80", "proxy.internal:80"),
    ],
)
def test_bind_addresses(text: str, shown: str, url_host: str) -> None:
    """Addresses are read in the usual forms; wildcards become loopback where a person types them."""
    address = BindAddress.parse(text, variable="X")
    assert (str(address), address.url_host) == (shown, url_host)


def test_listeners_can_be_switched_off() -> None:
    """`off` is an empty list of listeners."""
    assert read_environment({"AEGIS_PROXY_HTTPS": "off"}).proxy_https == ()
