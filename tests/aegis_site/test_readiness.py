"""The health endpoints of the web process."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from aegis_site import readiness
from localca.services import ensure_authority


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """As after a start: nothing is known to have passed."""
    readiness._passed_once.clear()
    yield
    readiness._passed_once.clear()


def test_alive_without_a_database(client: Client) -> None:
    """/healthz is 200 as long as the process answers; it asks no database."""
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_ready(client: Client) -> None:
    """Migrated, and every secret opens: ready."""
    ensure_authority()
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_once_ready_costs_one_query(client: Client, django_assert_num_queries: Any) -> None:
    """Later questions ask the database only whether it answers."""
    client.get("/readyz")
    with django_assert_num_queries(1):
        assert client.get("/readyz").status_code == 200


@pytest.mark.django_db
def test_not_migrated(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a migration that has not run: 503 with that reason."""
    monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *_: ["one"])
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reason": "the database is not migrated"}


@pytest.mark.django_db
def test_wrong_key(client: Client, settings: Any) -> None:
    """A key that does not open what is stored: 503, saying so and showing neither the key nor the rows."""
    ensure_authority()
    settings.AEGIS_SSL_KEY = "2e" * 32
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "reason": "1 stored secret does not open with AEGIS_SSL_KEY; `manage.py check --database default` names it",
    }


@pytest.mark.django_db
def test_no_key(client: Client, settings: Any) -> None:
    """Without a key: 503 with that reason."""
    settings.AEGIS_SSL_KEY = ""
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reason"] == "AEGIS_SSL_KEY is not set"


@pytest.mark.django_db
def test_no_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer: 503, without its error text, and 200 again when it answers."""

    def refuse() -> str:
        raise OperationalError("connection to server at 10.1.2.3 failed for user secretname")

    with monkeypatch.context() as patched:
        patched.setattr(readiness, "_problem", refuse)
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reason": "the database does not answer"}
    assert client.get("/readyz").status_code == 200


@pytest.mark.django_db
def test_only_reading_methods(client: Client) -> None:
    """HEAD works for load balancers; POST does not."""
    assert client.head("/readyz").status_code == 200
    assert client.post("/readyz").status_code == 405
