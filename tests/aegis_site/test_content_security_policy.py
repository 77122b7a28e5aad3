"""What browsers are told that pages of Aegis may do. That pages keep to it: `tests/e2e/test_main_pages.py`."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path", ["/admin/login/", "/admin/", "/admin/no-such-page/", "/api/v1/", "/api/v1/docs/", "/healthz"]
)
def test_every_answer_has_the_policy(client: Client, path: str) -> None:
    """Pages, errors and documents alike: no script but files of this site, no frame around it, no form to elsewhere."""
    client.force_login(User.objects.create_superuser("root"))
    answer = client.get(path)
    parts = (part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";"))
    policy = {name: sources.split() for name, sources in parts}
    assert policy["default-src"] == ["'none'"]
    assert set(policy["script-src"]) == {"'self'", "'unsafe-eval'"}
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
    assert policy["form-action"] == policy["connect-src"] == policy["font-src"] == ["'self'"]
