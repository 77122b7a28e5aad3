"""What the environment may say, and what is answered when it is wrong."""

import dataclasses
import os
from pathlib import Path

import pytest

from aegis_site.environment import PROXY_LIMITS, BindAddress, EnvironmentProblem, read_environment
from proxyworker.policy.limits import DownstreamLimits

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
    assert (environment.proxy_processes, environment.proxy_drain_delay_s) == (1, 0)
    assert (environment.access_log, environment.access_log_format) == (tmp_path / "access-log", "json")
    assert (environment.login_failures, environment.login_failures_per_address) == (5, 20)
    assert (environment.login_cool_off_s, environment.web_trusted_proxies) == (900, ())
    assert (environment.tests_per_minute, environment.token_failures_per_minute) == (30, 30)
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
    assert environment.access_log == "stdout"
    assert environment.ssl_key_previous == ("one", "two")
    assert environment.proxy_processes == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AEGIS_WEB_BIND": "localhost"}, "AEGIS_WEB_BIND: 'localhost' is not an address like 127.0.0.1:8000"),
        ({"AEGIS_PROXY_HTTP": "0.0.0.0:8080,1.2.3.4:x"}, "AEGIS_PROXY_HTTP: '1.2.3.4:x' is not an address"),
        ({"AEGIS_PROXY_METRICS": "127.0.0.1:70000"}, "AEGIS_PROXY_METRICS: '127.0.0.1:70000' is not"),
        ({"AEGIS_LOG_LEVEL": "loud"}, "AEGIS_LOG_LEVEL: 'loud' is none of INFO"),
        ({"AEGIS_PROXY_PROCESSES": "0"}, "AEGIS_PROXY_PROCESSES: '0' is not a number from 1 to 64"),
        ({"AEGIS_PROXY_DRAIN_DELAY_S": "-1"}, "AEGIS_PROXY_DRAIN_DELAY_S: '-1' is not a number from 0 to 300"),
        ({"AEGIS_ACCESS_LOG_FORMAT": "xml"}, "AEGIS_ACCESS_LOG_FORMAT: 'xml' is none of json, combined"),
        ({"AEGIS_ACCESS_LOG_BACKUPS": "0"}, "AEGIS_ACCESS_LOG_BACKUPS: '0' is not a number from 1 to 1000"),
        ({"AEGIS_ACCESS_LOG_MAX_BYTES": "1k"}, "AEGIS_ACCESS_LOG_MAX_BYTES: '1k' is not a number from 65536 to"),
        ({"AEGIS_REDIS_URL": "http://x"}, "AEGIS_REDIS_URL must start with redis://"),
        ({"AEGIS_DATABASE_URL": "postgres://db/aegis"}, "AEGIS_REDIS_URL is needed"),
        ({"AEGIS_DATABASE_URL": "mysql://db/aegis"}, "must be a postgres:// URL"),
        ({"AEGIS_DATA_DIR": "/" + "x" * 100}, "AEGIS_DATA_DIR is too long"),
        ({"AEGIS_PROXY_HTTP": ":80 proxy"}, "':80 proxy' is not an address like 127.0.0.1:8000, alone or followed by"),
        ({"AEGIS_WEB_BIND": ":80 proxy_protocol"}, "AEGIS_WEB_BIND: ':80 proxy_protocol' is not an address"),
        ({"AEGIS_PROXY_HTTPS": ":443 proxy_protocol"}, "0.0.0.0:443 proxy_protocol needs AEGIS_TRUSTED_PROXIES"),
        ({"AEGIS_LOGIN_FAILURES": "0"}, "AEGIS_LOGIN_FAILURES: '0' is not a number from 1 to 1000"),
        ({"AEGIS_LOGIN_FAILURES_PER_ADDRESS": "x"}, "AEGIS_LOGIN_FAILURES_PER_ADDRESS: 'x' is not a number from 1"),
        ({"AEGIS_LOGIN_COOL_OFF_S": "90000"}, "AEGIS_LOGIN_COOL_OFF_S: '90000' is not a number from 1 to 86400"),
        ({"AEGIS_TESTS_PER_MINUTE": "0"}, "AEGIS_TESTS_PER_MINUTE: '0' is not a number from 1"),
        ({"AEGIS_TOKEN_FAILURES_PER_MINUTE": "-"}, "AEGIS_TOKEN_FAILURES_PER_MINUTE: '-' is not a number from 1"),
        ({"AEGIS_WEB_TRUSTED_PROXIES": "10.0.0.1/8"}, "AEGIS_WEB_TRUSTED_PROXIES: 10.0.0.1/8 has host bits set"),
        ({"AEGIS_TRUSTED_PROXIES": "10.0.0.0/8, here"}, "AEGIS_TRUSTED_PROXIES: 'here' does not appear to be"),
        ({"AEGIS_TRUSTED_PROXIES": "10.0.0.1/8"}, "AEGIS_TRUSTED_PROXIES: 10.0.0.1/8 has host bits set"),
        ({"AEGIS_PROXY_MAX_CONNECTIONS": "many"}, "AEGIS_PROXY_MAX_CONNECTIONS: 'many' is not a number from 0"),
        ({"AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT": "-1"}, "'-1' is not a number from 0"),
        ({"AEGIS_PROXY_LIMITS": "patience_s=1"}, "AEGIS_PROXY_LIMITS: 'patience_s' is repeated, or none of"),
        ({"AEGIS_PROXY_LIMITS": "head_s=1,head_s=2"}, "AEGIS_PROXY_LIMITS: 'head_s' is repeated, or none of"),
        ({"AEGIS_PROXY_LIMITS": "head_s"}, "AEGIS_PROXY_LIMITS: 'head_s' is not a limit like head_s=30"),
        ({"AEGIS_PROXY_LIMITS": "head_s=0"}, "'head_s=0' is not a limit"),
        ({"AEGIS_PROXY_LIMITS": "head_s=nan"}, "'head_s=nan' is not a limit"),
        ({"AEGIS_PROXY_LIMITS": "max_head_bytes=1.5"}, "'max_head_bytes=1.5' is not a limit"),
    ],
)
def test_bad_values_are_named(variables: dict[str, str], message: str) -> None:
    """A value that cannot be used stops the start and names its variable."""
    with pytest.raises(EnvironmentProblem) as raised:
        read_environment(variables)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "destination"), [("off", "off"), ("stdout", "stdout"), ("/var/log/aegis", Path("/var/log/aegis"))]
)
def test_access_log(text: str, destination: Path | str) -> None:
    """Off, standard output, or a directory; in both modes."""
    variables = {"AEGIS_ACCESS_LOG": text, "AEGIS_ACCESS_LOG_FORMAT": "Combined", "AEGIS_ACCESS_LOG_BACKUPS": "9"}
    for mode in ({}, PRODUCTION):
        environment = read_environment(variables | mode)
        assert environment.access_log == destination
        assert (environment.access_log_format, environment.access_log_backups) == ("combined", 9)


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


def test_listeners_with_proxy_protocol() -> None:
    """The word behind an address belongs to that listener only, and comes back in its text."""
    environment = read_environment(
        {"AEGIS_PROXY_HTTP": ":80, 10.0.0.1:81  proxy_protocol", "AEGIS_TRUSTED_PROXIES": "10.0.0.2"}
    )
    plain, proxied = environment.proxy_http
    assert (plain.proxy_protocol, proxied.proxy_protocol) == (False, True)
    assert (str(proxied), proxied.address, proxied.url_host) == (
        "10.0.0.1:81 proxy_protocol",
        ("10.0.0.1", 81),
        "10.0.0.1:81",
    )
    assert BindAddress.parse(str(proxied), variable="X", is_traffic=True) == proxied


def test_limits_of_clients() -> None:
    """None is set by default; names tell the unit."""
    default = read_environment({})
    assert (default.proxy_limits, default.trusted_proxies) == ({}, ())
    assert (default.proxy_max_connections, default.proxy_max_connections_per_client) == (0, 0)
    environment = read_environment(
        {
            "AEGIS_PROXY_LIMITS": "head_s=2.5, max_head_bytes=16384,",
            "AEGIS_PROXY_MAX_CONNECTIONS": "1000",
            "AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT": "20",
            "AEGIS_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1",
        }
    )
    assert environment.proxy_limits == {"head_s": 2.5, "max_head_bytes": 16_384}
    assert isinstance(environment.proxy_limits["max_head_bytes"], int)
    assert environment.proxy_max_connections == 1000
    assert environment.proxy_max_connections_per_client == 20
    assert environment.trusted_proxies == ("10.0.0.0/8", "2001:db8::1")


def test_every_limit_of_the_worker_can_be_set() -> None:
    """The site may not import the worker's own list, so the two are compared here."""
    assert {field.name for field in dataclasses.fields(DownstreamLimits)} == set(PROXY_LIMITS)


def test_listeners_can_be_switched_off() -> None:
    """`off` is an empty list of listeners."""
    assert read_environment({"AEGIS_PROXY_HTTPS": "off"}).proxy_https == ()


def test_processes_and_drain_delay() -> None:
    """Whole numbers; empty means the default."""
    chosen = read_environment({"AEGIS_PROXY_PROCESSES": "4", "AEGIS_PROXY_DRAIN_DELAY_S": "15"})
    assert (chosen.proxy_processes, chosen.proxy_drain_delay_s) == (4, 15)
    assert read_environment({"AEGIS_PROXY_PROCESSES": ""}).proxy_processes == 1
