"""A database for other processes, and the processes."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from django.db import connection

from aegis_site.environment import BASE_DIR, DATABASE_FILE

PATIENCE_S = 60


def copy_database(data_dir: Path) -> None:
    """Put a copy of this test process's database, as it was last committed, into a data directory.

    It is migrated, and migrating another one would take seconds. Needs the fixture `django_db_setup`.
    """
    with (
        closing(sqlite3.connect(connection.settings_dict["NAME"])) as source,
        closing(sqlite3.connect(data_dir / DATABASE_FILE)) as target,
    ):
        source.backup(target)


def environment_of(data_dir: Path) -> dict[str, str]:
    """Of processes with this data directory."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(BASE_DIR),
        # Loading the pages would take as long again as all the rest.
        "DJANGO_SETTINGS_MODULE": "aegis_site.settings_worker",
        "AEGIS_DATA_DIR": str(data_dir),
        "AEGIS_SSL_KEY": "0f" * 32,
        "AEGIS_SECRET_KEY": "only-for-tests-" + "x" * 40,
        "AEGIS_LOG_LEVEL": "ERROR",
    }


class Installation:
    """A migrated database file of its own, used by other processes only. Needs the fixture `django_db_setup`.

    With an `environment`, whatever database that names.
    """

    def __init__(self, data_dir: Path, *, environment: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.environment = environment or environment_of(data_dir)
        if environment is None:
            copy_database(data_dir)

    def start(self, script: str, *arguments: str) -> "subprocess.Popen[str]":
        """A process that runs `script`, in which Django is set up and `sys` is imported."""
        script = "import sys, django\ndjango.setup()\n" + script
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def race(self, script: str, *, runners: Sequence[str]) -> list[str]:
        """What processes print that run `script` at once, each with its argument.

        Each says "ready" and reads its standard input; when all have said so, all are let go.
        """
        processes = [self.start(script, runner) for runner in runners]
        try:
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                let_go(process)
            return [finished(process) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def let_go(process: "subprocess.Popen[str]") -> None:
    """End its standard input, for which it waits."""
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None


def finished(process: "subprocess.Popen[str]", text: str | None = None) -> str:
    """What it prints till its end, which is a good one."""
    output, errors = process.communicate(text, timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    return output
