"""How long a statement waits for others.

Laws of this module: what is nice to have waits for nobody. What a request is about waits as the settings say.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def without_waiting() -> Iterator[None]:
    """On SQLite, which has one writer at a time, a write of the block fails at once while somebody else writes.

    PostgreSQL locks rows, and nobody keeps the lock of a row that is nice to have.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        (usual_ms,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(usual_ms)}")
