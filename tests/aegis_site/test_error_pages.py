"""Requests that never reach a view."""

import pytest
from django.core.exceptions import SuspiciousOperation
from django.test import Client, RequestFactory

from aegis_site.error_pages import bad_request

TEXT = "x" * 13_000_000
PART = f'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n{TEXT}\r\n--b--\r\n'


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/x-www-form-urlencoded", f"text={TEXT}"), ("multipart/form-data; boundary=b", PART)],
)
def test_a_form_that_is_too_large_is_told_the_limit(content_type: str, body: str) -> None:
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
