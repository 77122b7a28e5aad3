"""patience: what is nice to have waits for nobody."""

import sqlite3
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection

from aegis_site.kernel.patience import without_waiting

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases have many writers"),
]


@pytest.fixture
def another_writer() -> Iterator[None]:
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


def busy_timeout_ms() -> int:
    with connection.cursor() as cursor:
        (timeout_ms,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    return int(timeout_ms)


def test_a_write_fails_at_once_while_somebody_else_writes(another_writer: None) -> None:
    """And everything after the block waits as before."""
    usual_ms = busy_timeout_ms()
    assert usual_ms == 10_000
    begun = time.monotonic()
    with pytest.raises(OperationalError), without_waiting():
        Group.objects.create(name="nice to have")
    assert time.monotonic() - begun < usual_ms / 2000
    assert busy_timeout_ms() == usual_ms


def test_without_another_writer_it_is_written() -> None:
    """As ever."""
    with without_waiting():
        Group.objects.create(name="nice to have")
    assert Group.objects.filter(name="nice to have").exists()
