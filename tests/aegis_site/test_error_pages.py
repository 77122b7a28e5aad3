"""Requests that never reach a view."""

import pytest
from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError
from django.test import Client, RequestFactory

from aegis_site.error_pages import bad_request, server_error

TEXT = "x" * 13_000_000
PART = f'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n{TEXT}\r\n--b--\r\n'


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/x-www-form-urlencoded", f"text={TEXT}"), ("multipart/form-data; boundary=b", PART)],
)
def test_a_form_that_is_dropped_is_told_the_limit(content_type: str, body: str) -> None:
    """413 with a page that says what is too large and that nothing is lost."""
    client = Client(enforce_csrf_checks=True)
    client.get("/admin/login/")
    response = client.post("/admin/login/", body, content_type=content_type)
    assert response.status_code == 413
    assert "larger than 12 MiB" in response.content.decode()


def test_other_bad_requests_stay_what_they_are() -> None:
    """400, without a word that a stranger could use."""
    response = bad_request(RequestFactory().get("/"), SuspiciousOperation("secret"))
    assert response.status_code == 400
    assert b"secret" not in response.content


def test_a_database_that_is_busy_is_a_reason_to_try_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, and nothing of what the database said; before, it was a 500."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked by secretname")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", fail)
    client.raise_request_exception = False
    response = client.get("/admin/login/")
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    assert "Try again" in response.content.decode()
    assert b"secretname" not in response.content


def test_other_failures_are_failures() -> None:
    """500, without a word about why."""
    assert server_error(RequestFactory().get("/")).status_code == 500
