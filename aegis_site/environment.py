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

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
SECRETS_FILE = "aegis.env"
DATABASE_FILE = "aegis.sqlite3"
VALKEY_SOCKET = "valkey.sock"

# sockaddr_un.sun_path holds 108 bytes including the final NUL (unix(7)).
MAX_SOCKET_PATH_BYTES = 107


class EnvironmentProblem(ImproperlyConfigured):
    """A variable of the environment that cannot be used. The text names it and never shows a secret."""


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where a listener listens: an address to bind and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url_host(self) -> str:
        """The address as a person on this machine would type it into a URL."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (names the wildcard, binds nothing)
        return f"{loopback.get(self.host) or (f'[{self.host}]' if ':' in self.host else self.host)}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, variable: str) -> "BindAddress":
        """`host:port`, `[v6]:port` or `:port` (all addresses)."""
        host, separator, port = text.strip().rpartition(":")
        if not separator or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise EnvironmentProblem(f"{variable}: {text!r} is not an address like 127.0.0.1:8000")
        return cls(host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port))  # noqa: S104


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
    allowed_hosts: tuple[str, ...]
    log_level: str
    log_format: str

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
    return Environment(
        data_dir=data_dir,
        is_embedded=is_embedded,
        database=_database(env, data_dir, is_embedded=is_embedded),
        redis_url=_redis_url(env, data_dir, is_embedded=is_embedded),
        ssl_key=env.str("AEGIS_SSL_KEY", default=""),
        ssl_key_previous=_words(env, "AEGIS_SSL_KEY_PREVIOUS"),
        secret_key=env.str("AEGIS_SECRET_KEY", default=""),
        web_bind=web_bind,
        proxy_http=_binds(env, "AEGIS_PROXY_HTTP", "0.0.0.0:8080"),
        proxy_https=_binds(env, "AEGIS_PROXY_HTTPS", "0.0.0.0:8443"),
        proxy_metrics=BindAddress.parse(metrics, variable="AEGIS_PROXY_METRICS"),
        allowed_hosts=_words(env, "AEGIS_ALLOWED_HOSTS") or ("localhost", "127.0.0.1", "[::1]", web_bind.host),
        log_level=_choice(env, "AEGIS_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        log_format=_choice(env, "AEGIS_LOG_FORMAT", ("console", "json")),
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


def _binds(env: environ.Env, name: str, default: str) -> tuple[BindAddress, ...]:
    """Comma separated addresses; `off` switches the listener off."""
    text = env.str(name, default=default)
    if text.strip() == "off":
        return ()
    return tuple(BindAddress.parse(word, variable=name) for word in text.split(","))


def _choice(env: environ.Env, name: str, choices: tuple[str, ...]) -> str:
    """One of `choices` in any case; the first is the default."""
    value = env.str(name, default=choices[0])
    for choice in choices:
        if value.lower() == choice.lower():
            return choice
    raise EnvironmentProblem(f"{name}: {value!r} is none of {', '.join(choices)}")
