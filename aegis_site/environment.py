"""Reads Aegis's configuration from the environment, once, into typed values.

Laws of this module:
- Every `AEGIS_*` variable is read here and nowhere else; a secret may also come from `NAME_FILE`. Two exceptions are
  for the first run only and stay out of the settings: AEGIS_ADMIN_PASSWORD (`first_run`), AEGIS_DEMO_UPSTREAM
  (`demo_setup`).
- A value that cannot be used raises `EnvironmentProblem` naming the variable; nothing is guessed.
- Embedded mode means: no AEGIS_DATABASE_URL. Its generated secrets are read from `aegis.env` in the data directory;
  the process environment wins over that file.
- Reading creates nothing: `manage.py up` makes the data directory and the secrets.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
SECRETS_FILE = "aegis.env"
DATABASE_FILE = "aegis.sqlite3"
VALKEY_SOCKET = "valkey.sock"

# Behind a listener's address, as in nginx's `listen`.
PROXY_PROTOCOL = "proxy_protocol"

# What AEGIS_PROXY_LIMITS may set: the fields of the worker's DownstreamLimits, which a test compares.
PROXY_LIMITS = (
    "max_head_bytes",
    "proxy_header_s",
    "handshake_s",
    "head_s",
    "keep_alive_s",
    "body_stall_s",
    "write_stall_s",
    "drain_s",
    "half_closed_s",
    "max_drain_bytes",
)
_IS_BYTES = re.compile(r"[0-9]{1,12}", re.ASCII)
_IS_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?", re.ASCII)

# sockaddr_un.sun_path holds 108 bytes including the final NUL (unix(7)).
MAX_SOCKET_PATH_BYTES = 107
MAX_PROCESSES = 64
# For numbers whose bound is not here.
MAX_NUMBER = 10**9


class EnvironmentProblem(ImproperlyConfigured):
    """A variable of the environment that cannot be used. The text names it and never shows a secret."""


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where a listener listens: an address to bind and a TCP port.

    `proxy_protocol`: every connection begins with a PROXY protocol header.
    """

    host: str
    port: int
    proxy_protocol: bool = False

    def __str__(self) -> str:
        address = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"{address} {PROXY_PROTOCOL}" if self.proxy_protocol else address

    @property
    def address(self) -> tuple[str, int]:
        """What a socket is bound to."""
        return self.host, self.port

    @property
    def url_host(self) -> str:
        """The address as a person on this machine would type it into a URL."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (names the wildcard, binds nothing)
        return f"{loopback.get(self.host) or (f'[{self.host}]' if ':' in self.host else self.host)}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, variable: str, is_traffic: bool = False) -> "BindAddress":
        """`host:port`, `[v6]:port` or `:port` (all addresses); with `is_traffic`, `proxy_protocol` may follow."""
        address, space, word = text.strip().partition(" ")
        has_proxy_protocol = is_traffic and word.strip() == PROXY_PROTOCOL
        if space and not has_proxy_protocol:
            may_follow = f", alone or followed by {PROXY_PROTOCOL}" if is_traffic else ""
            raise EnvironmentProblem(f"{variable}: {text!r} is not an address like 127.0.0.1:8000{may_follow}")
        host, separator, port = address.rpartition(":")
        if not separator or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise EnvironmentProblem(f"{variable}: {text!r} is not an address like 127.0.0.1:8000")
        return cls(host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port), has_proxy_protocol)  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """All settings that an operator may choose."""

    data_dir: Path
    is_embedded: bool
    database: dict[str, Any]
    redis_url: str
    ssl_key: str
    ssl_key_previous: tuple[str, ...]
    secret_key: str
    web_bind: BindAddress
    proxy_http: tuple[BindAddress, ...]
    proxy_https: tuple[BindAddress, ...]
    proxy_metrics: BindAddress
    proxy_limits: dict[str, float]
    proxy_max_connections: int
    proxy_max_connections_per_client: int
    trusted_proxies: tuple[str, ...]
    web_trusted_proxies: tuple[str, ...]
    login_failures: int
    login_failures_per_address: int
    login_cool_off_s: int
    tests_per_minute: int
    token_failures_per_minute: int
    proxy_processes: int
    proxy_drain_delay_s: int
    allowed_hosts: tuple[str, ...]
    log_level: str
    log_format: str
    access_log: Path | Literal["off", "stdout"]
    access_log_format: str
    access_log_max_bytes: int
    access_log_backups: int

    def __repr__(self) -> str:
        return f"Environment(data_dir={str(self.data_dir)!r}, is_embedded={self.is_embedded})"


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """The configuration that `variables` (default: the process environment) describe."""
    env = _reader(dict(os.environ if variables is None else variables))
    data_dir = Path(env.str("AEGIS_DATA_DIR", default="") or BASE_DIR / "var").absolute()
    is_embedded = not env.str("AEGIS_DATABASE_URL", default="")
    if is_embedded:
        _add_generated_secrets(env, data_dir / SECRETS_FILE)
    web_bind = BindAddress.parse(env.str("AEGIS_WEB_BIND", default="127.0.0.1:8000"), variable="AEGIS_WEB_BIND")
    metrics = env.str("AEGIS_PROXY_METRICS", default="127.0.0.1:9180")
    trusted_proxies = _networks(env, "AEGIS_TRUSTED_PROXIES")
    return Environment(
        data_dir=data_dir,
        is_embedded=is_embedded,
        database=_database(env, data_dir, is_embedded=is_embedded),
        redis_url=_redis_url(env, data_dir, is_embedded=is_embedded),
        ssl_key=env.str("AEGIS_SSL_KEY", default=""),
        ssl_key_previous=_words(env, "AEGIS_SSL_KEY_PREVIOUS"),
        secret_key=env.str("AEGIS_SECRET_KEY", default=""),
        web_bind=web_bind,
        proxy_http=_binds(env, "AEGIS_PROXY_HTTP", "0.0.0.0:8080", trusted_proxies),
        proxy_https=_binds(env, "AEGIS_PROXY_HTTPS", "0.0.0.0:8443", trusted_proxies),
        proxy_metrics=BindAddress.parse(metrics, variable="AEGIS_PROXY_METRICS"),
        proxy_limits=_limits(env, "AEGIS_PROXY_LIMITS"),
        proxy_max_connections=_number(env, "AEGIS_PROXY_MAX_CONNECTIONS"),
        proxy_max_connections_per_client=_number(env, "AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT"),
        trusted_proxies=trusted_proxies,
        web_trusted_proxies=_networks(env, "AEGIS_WEB_TRUSTED_PROXIES"),
        login_failures=_number(env, "AEGIS_LOGIN_FAILURES", default=5, least=1, most=1000),
        login_failures_per_address=_number(env, "AEGIS_LOGIN_FAILURES_PER_ADDRESS", default=20, least=1, most=100_000),
        login_cool_off_s=_number(env, "AEGIS_LOGIN_COOL_OFF_S", default=900, least=1, most=86_400),
        tests_per_minute=_number(env, "AEGIS_TESTS_PER_MINUTE", default=30, least=1, most=100_000),
        token_failures_per_minute=_number(env, "AEGIS_TOKEN_FAILURES_PER_MINUTE", default=30, least=1, most=100_000),
        proxy_processes=_number(
            env, "AEGIS_PROXY_PROCESSES", default=1 if is_embedded else _cpu_count(), least=1, most=MAX_PROCESSES
        ),
        proxy_drain_delay_s=_number(env, "AEGIS_PROXY_DRAIN_DELAY_S", most=300),
        allowed_hosts=_words(env, "AEGIS_ALLOWED_HOSTS") or ("localhost", "127.0.0.1", "[::1]", web_bind.host),
        log_level=_choice(env, "AEGIS_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        log_format=_choice(env, "AEGIS_LOG_FORMAT", ("console", "json")),
        access_log=_access_log(env, data_dir if is_embedded else None),
        access_log_format=_choice(env, "AEGIS_ACCESS_LOG_FORMAT", ("json", "combined")),
        access_log_max_bytes=_number(
            env, "AEGIS_ACCESS_LOG_MAX_BYTES", default=100 * 1024 * 1024, least=64 * 1024, most=1024**4
        ),
        access_log_backups=_number(env, "AEGIS_ACCESS_LOG_BACKUPS", default=5, least=1, most=1000),
    )


def _reader(variables: dict[str, str]) -> environ.Env:
    reader = environ.Env()
    reader.ENVIRON = variables | _from_files(variables)
    return reader


def _from_files(variables: Mapping[str, str]) -> dict[str, str]:
    """What the files named by `AEGIS_..._FILE` hold, without the white space around it: editors add a newline."""
    values = {}
    for variable, path in variables.items():
        if variable.startswith("AEGIS_") and variable.endswith("_FILE") and path:
            try:
                values[variable.removesuffix("_FILE")] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                raise EnvironmentProblem(f"{variable}: cannot read {path}: {reason}") from error
    return values


def _add_generated_secrets(env: environ.Env, path: Path) -> None:
    """Take from aegis.env what the environment does not set. A missing file is normal before the first run."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnvironmentProblem(f"cannot read {path}: {error.strerror}") from error
    for line in lines:
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            env.ENVIRON.setdefault(name, value)


def _database(env: environ.Env, data_dir: Path, *, is_embedded: bool) -> dict[str, Any]:
    if is_embedded:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(data_dir / DATABASE_FILE),
            "OPTIONS": {
                # Writers queue instead of failing when a read transaction turns into a write.
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                "init_command": "PRAGMA journal_mode=WAL",
            },
        }
    try:
        config: dict[str, Any] = env.db_url("AEGIS_DATABASE_URL")
    except Exception as error:
        raise EnvironmentProblem("AEGIS_DATABASE_URL is not a database URL") from error
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise EnvironmentProblem("AEGIS_DATABASE_URL must be a postgres:// URL; leave it empty for embedded SQLite")
    return {**config, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def _redis_url(env: environ.Env, data_dir: Path, *, is_embedded: bool) -> str:
    url: str = env.str("AEGIS_REDIS_URL", default="")
    if url:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise EnvironmentProblem("AEGIS_REDIS_URL must start with redis://, rediss:// or unix://")
        return url
    if not is_embedded:
        raise EnvironmentProblem("AEGIS_REDIS_URL is needed when AEGIS_DATABASE_URL is set")
    socket = data_dir / VALKEY_SOCKET
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
        raise EnvironmentProblem(
            f"AEGIS_DATA_DIR is too long: the path of its Valkey socket may have {MAX_SOCKET_PATH_BYTES} bytes"
        )
    return f"unix://{socket}"


def _words(env: environ.Env, name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.str(name, default="").split(",") if word.strip())


def _binds(env: environ.Env, name: str, default: str, trusted_proxies: tuple[str, ...]) -> tuple[BindAddress, ...]:
    """Comma separated addresses; `off` switches the listener off."""
    text = env.str(name, default=default)
    if text.strip() == "off":
        return ()
    binds = tuple(BindAddress.parse(word, variable=name, is_traffic=True) for word in text.split(","))
    for bind in binds:
        if bind.proxy_protocol and not trusted_proxies:
            raise EnvironmentProblem(
                f"{name}: {bind} needs AEGIS_TRUSTED_PROXIES: without it nobody may say who the client is, and every "
                "connection would be refused"
            )
    return binds


def _networks(env: environ.Env, name: str) -> tuple[str, ...]:
    """Comma separated IP addresses and networks (`10.0.0.0/8`, `2001:db8::/32`)."""
    words = _words(env, name)
    for word in words:
        try:
            ipaddress.ip_network(word)
        except ValueError as error:
            raise EnvironmentProblem(f"{name}: {error}") from error
    return words


def _limits(env: environ.Env, name: str) -> dict[str, float]:
    """Comma separated `name=value`: seconds for names in `_s`, whole bytes for names in `_bytes`."""
    limits: dict[str, float] = {}
    for word in _words(env, name):
        key, _, text = (part.strip() for part in word.partition("="))
        if key not in PROXY_LIMITS or key in limits:
            raise EnvironmentProblem(f"{name}: {key!r} is repeated, or none of {', '.join(PROXY_LIMITS)}")
        form = _IS_BYTES if key.endswith("_bytes") else _IS_SECONDS
        if not form.fullmatch(text) or not float(text):
            raise EnvironmentProblem(f"{name}: {word!r} is not a limit like head_s=30 or max_head_bytes=32768")
        limits[key] = int(text) if form is _IS_BYTES else float(text)
    return limits


def _number(env: environ.Env, name: str, *, default: int = 0, least: int = 0, most: int = MAX_NUMBER) -> int:
    """A whole number from `least` to `most`."""
    text = env.str(name, default="").strip() or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise EnvironmentProblem(f"{name}: {text!r} is not a number from {least} to {most}")
    return int(text)


def _cpu_count() -> int:
    """The processors that this process may use: a container may have fewer than the machine."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MAX_PROCESSES)


def _access_log(env: environ.Env, data_dir: Path | None) -> Path | Literal["off", "stdout"]:
    """A directory, `stdout` or `off`; by default a directory in `data_dir`, or `stdout` without one."""
    text = env.str("AEGIS_ACCESS_LOG", default="").strip()
    if text in ("off", "stdout"):
        return "off" if text == "off" else "stdout"
    if text:
        return Path(text).absolute()
    return "stdout" if data_dir is None else data_dir / "access-log"


def _choice(env: environ.Env, name: str, choices: tuple[str, ...]) -> str:
    """One of `choices` in any case; the first is the default."""
    value = env.str(name, default=choices[0])
    for choice in choices:
        if value.lower() == choice.lower():
            return choice
    raise EnvironmentProblem(f"{name}: {value!r} is none of {', '.join(choices)}")
