"""`manage.py create_api_token`: one usable token, printed once."""

import datetime
import re

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from aegis_site.access.models import ApiToken
from aegis_site.kernel.audit.models import AuditEntry, Origin

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def admin() -> User:
    return User.objects.create_superuser("admin")


def test_the_token_and_nothing_else(capsys: pytest.CaptureFixture[str], client: Client) -> None:
    """Standard output is the token alone, so that scripts can take it; the API accepts it."""
    call_command("create_api_token", user="admin")
    output = capsys.readouterr().out
    token = output.removesuffix("\n")
    assert re.fullmatch("aegis_[0-9a-f]{64}", token)
    assert client.get("/api/v1/ca", headers={"Authorization": f"Token {token}"}).status_code in {200, 404}
    assert client.get("/api/v1/ca", headers={"Authorization": f"Token {token[:-1]}x"}).status_code == 401


def test_the_token_is_stored_hashed(capsys: pytest.CaptureFixture[str]) -> None:
    """The database has a digest of the token and its first characters, which are only for finding it."""
    call_command("create_api_token", user="admin")
    token = capsys.readouterr().out.strip()
    (row,) = ApiToken.objects.values_list("digest", "token_key")
    assert token not in row
    assert all(token[20:] not in value for value in row)


@pytest.mark.parametrize("days", [1, 3650])
def test_it_expires(days: int) -> None:
    """The token is valid for the days asked for."""
    call_command("create_api_token", user="admin", days=days)
    expiry = ApiToken.objects.get().expiry
    assert abs(expiry - timezone.now() - datetime.timedelta(days=days)) < datetime.timedelta(minutes=1)


def test_a_year_is_the_default() -> None:
    """Without --days it expires after 365 days."""
    call_command("create_api_token", user="admin")
    assert (ApiToken.objects.get().expiry - timezone.now()).days == 364


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_bad_lifetimes(days: int) -> None:
    """A token lives for at least a day and at most ten years."""
    with pytest.raises(CommandError, match="--days must be between 1 and 3650"):
        call_command("create_api_token", user="admin", days=days)
    assert not ApiToken.objects.exists()


def test_unknown_and_inactive_users(admin: User) -> None:
    """Only an active user gets a token."""
    with pytest.raises(CommandError, match="there is no active user 'nobody'"):
        call_command("create_api_token", user="nobody")
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="there is no active user 'admin'"):
        call_command("create_api_token", user="admin")


def test_scope_and_name(capsys: pytest.CaptureFixture[str], client: Client) -> None:
    """A token may be one that only reads; what it is called is in the list and in the audit log."""
    call_command("create_api_token", user="admin", scope="read", name="metrics")
    headers = {"Authorization": f"Token {capsys.readouterr().out.strip()}"}
    assert client.get("/api/v1/hosts", headers=headers).status_code == 200
    assert client.post("/api/v1/hosts", headers=headers).status_code == 403
    token, entry = ApiToken.objects.get(), AuditEntry.objects.get(target_type="api_token")
    assert (token.name, token.scope) == ("metrics", "read")
    assert (entry.action, entry.target_name, entry.target_id) == ("created", "metrics", str(token.pk))
    assert (entry.origin, entry.user) == (Origin.COMMAND, None)


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_bad_names(name: str) -> None:
    """A name has 1 to 100 characters."""
    with pytest.raises(CommandError, match="--name must have 1 to 100 characters"):
        call_command("create_api_token", user="admin", name=name)
