"""The database of this test process, kept and put back.

Django's own way back to an empty database deletes from each table and makes permissions anew, a third of a second for
every test; putting pages back takes milliseconds, and the rows with which tests begin come back with them.
"""

import sqlite3

from django.db import connection


class SavedDatabase:
    """What was committed when this was made."""

    def __init__(self) -> None:
        self._kept = sqlite3.connect(":memory:", check_same_thread=False)
        connection.ensure_connection()
        connection.connection.backup(self._kept)

    def put_back(self) -> None:
        connection.ensure_connection()
        self._kept.backup(connection.connection)

    def close(self) -> None:
        self._kept.close()
