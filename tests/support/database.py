"""A database for other processes."""

import sqlite3
from contextlib import closing
from pathlib import Path

from django.db import connection

from aegis_site.environment import DATABASE_FILE


def copy_database(data_dir: Path) -> None:
    """Put a copy of this test process's database, as it was last committed, into a data directory.

    It is migrated, and migrating another one would take seconds. Needs the fixture `django_db_setup`.
    """
    with (
        closing(sqlite3.connect(connection.settings_dict["NAME"])) as source,
        closing(sqlite3.connect(data_dir / DATABASE_FILE)) as target,
    ):
        source.backup(target)
