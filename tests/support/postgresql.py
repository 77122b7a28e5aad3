"""A real PostgreSQL for tests of what SQLite, which has one writer at a time, cannot show.

Debian's packages `postgresql` have it; where it is not installed, `is_installed()` says so and tests skip.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.support.database import PATIENCE_S, Installation, environment_of, finished
from tests.support.polling import eventually
from tests.support.ports import free_port

_USER = "aegis"
_TEMPLATE = "migrated"
# The server refuses to run as root.
_UNPRIVILEGED = "nobody"

_MIGRATE = "from django.core.management import call_command\ncall_command('migrate', verbosity=0)"


def is_installed() -> bool:
    """Whether there is a server on this machine."""
    return bool(_binary("initdb") and _binary("postgres"))


class PostgreSQL:
    """`with PostgreSQL() as server:` runs a cluster on a port of 127.0.0.1, in a directory that goes with it."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="aegis-postgresql-"))
        self._data = self._directory / "data"
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self._directory, _UNPRIVILEGED)
            self._as = {"user": _UNPRIVILEGED, "extra_groups": []}
        self._port = free_port()
        self._count = 0

    def __enter__(self) -> Self:
        initdb = [_binary("initdb"), "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self._directory, **self._as)
        options = {"listen_addresses": "127.0.0.1", "port": self._port, "unix_socket_directories": "", "fsync": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("wb") as log:
            command = [_binary("postgres"), "-D", self._data, *settings]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory, **self._as)
        eventually(self._answers, within_s=PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Immediate shutdown: nobody wants the data back.
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(PATIENCE_S)
        shutil.rmtree(self._directory)

    def installation(self, data_dir: Path) -> Installation:
        """One with a migrated database of its own, used by other processes only. The first takes seconds."""
        if self._count == 0:
            self._sql(f"CREATE DATABASE {_TEMPLATE}")
            # All apps: the worker's settings leave out some that others' migrations need.
            everything = {"DJANGO_SETTINGS_MODULE": "aegis_site.settings"}
            template = Installation(data_dir, environment=self._environment(data_dir, _TEMPLATE) | everything)
            assert finished(template.start(_MIGRATE)) == ""
        self._count += 1
        name = f"aegis_{self._count}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return Installation(data_dir, environment=self._environment(data_dir, name))

    def waiting(self) -> int:
        """How many transactions wait for a lock."""
        (count,) = self._sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") or (0,)
        return int(count)

    def _environment(self, data_dir: Path, database: str) -> dict[str, str]:
        return {
            **environment_of(data_dir),
            "AEGIS_DATABASE_URL": f"postgres://{_USER}@127.0.0.1:{self._port}/{database}",
            "AEGIS_REDIS_URL": "redis://127.0.0.1:1/0",  # nobody is asked
        }

    def _answers(self) -> bool:
        try:
            self._sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _sql(self, statement: str) -> tuple[Any, ...] | None:
        address = f"host=127.0.0.1 port={self._port} user={_USER} dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchone() if cursor.description else None


def _binary(name: str) -> str:
    """Its path, "" where there is none. Debian keeps those of each version to themselves."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(versions[-1]) if versions else "")
