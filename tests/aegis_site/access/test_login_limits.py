"""How often a sign-in may fail."""

import datetime
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from aegis_site.kernel.audit.models import AuditEntry

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def _users() -> None:
    for name in ("alice", "mallory"):
        User.objects.create_user(name, password=PASSWORD, is_staff=True)


def sign_in(name: str, password: str, address: str = HERE, **headers: str) -> Any:
    fields = {"username": name, "password": password}
    return Client().post("/admin/login/?next=/admin/", fields, REMOTE_ADDR=address, headers=headers)


def fail(name: str, times: int, address: str = HERE) -> list[int]:
    return [sign_in(name, "wrong", address).status_code for _ in range(times)]


def test_after_five_failures_the_right_password_does_not_help() -> None:
    """429 with the time to wait, for this name from this address only."""
    assert fail("alice", 5) == [200, 200, 200, 200, 429]
    locked = sign_in("alice", PASSWORD)
    assert locked.status_code == 429
    assert 890 <= int(locked["Retry-After"]) <= 900
    page = locked.content.decode()
    assert "Try again in 15 minutes" in page
    assert "alice" not in page
    assert sign_in("alice", PASSWORD, ELSEWHERE).status_code == 302
    assert sign_in("mallory", PASSWORD).status_code == 302


def test_it_ends_by_itself() -> None:
    """Fifteen minutes after the last failure that counted; trying meanwhile does not prolong it."""
    with time_machine.travel("2026-01-01 12:00:00+00:00", tick=False) as clock:
        fail("alice", 5)
        clock.shift(datetime.timedelta(minutes=14, seconds=30))
        locked = sign_in("alice", PASSWORD)
        assert (locked.status_code, locked["Retry-After"]) == (429, "30")
        assert "Try again in 1 minute;" in locked.content.decode()
        clock.shift(datetime.timedelta(seconds=31))
        assert sign_in("alice", PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_one_address_cannot_try_many_names() -> None:
    """After twenty failures from one address, whatever the names, nobody signs in from there."""
    for number in range(19):
        assert sign_in(f"user{number}", "wrong").status_code == 200
    assert sign_in("user19", "wrong").status_code == 429
    assert sign_in("alice", PASSWORD).status_code == 429
    assert sign_in("alice", PASSWORD, ELSEWHERE).status_code == 302


def test_a_success_forgives_only_its_own_failures() -> None:
    """Whoever has a user cannot use it to go on guessing the passwords of others."""
    fail("mallory", 4)
    fail("alice", 4)
    assert sign_in("mallory", PASSWORD).status_code == 302
    assert fail("mallory", 4) == [200] * 4
    assert fail("alice", 1) == [429]


def test_unknown_and_inactive_users_look_the_same() -> None:
    """Neither the answers nor the moment of locking say whether there is such a user."""
    User.objects.filter(username="mallory").update(is_active=False)
    answers = {}
    for number, name in enumerate(("alice", "mallory", "nobody")):
        pages = [sign_in(name, "wrong", f"192.0.2.{number + 10}") for _ in range(6)]
        tokens = [page.context.get("csrf_token") if page.context else "" for page in pages]
        answers[name] = [
            (page.status_code, page.content.decode().replace(name, "NAME").replace(str(token), "CSRF"))
            for page, token in zip(pages, tokens, strict=True)
        ]
    assert answers["alice"] == answers["mallory"] == answers["nobody"]


def test_a_claimed_address_counts_only_from_a_trusted_proxy(settings: Settings) -> None:
    """Without one, changing X-Forwarded-For gains nothing; with one, clients behind it are told apart."""
    for number in range(4):
        sign_in("alice", "wrong", **{"X-Forwarded-For": f"198.51.100.{number}"})
    assert sign_in("alice", "wrong", **{"X-Forwarded-For": "198.51.100.9"}).status_code == 429
    settings.AEGIS_WEB_TRUSTED_PROXIES = (HERE,)
    assert sign_in("alice", PASSWORD, **{"X-Forwarded-For": "198.51.100.9"}).status_code == 302


def test_the_audit_log_has_one_entry_for_each_lock() -> None:
    """With name and address, and not one for each attempt after that."""
    fail("alice", 9)
    entry = AuditEntry.objects.get(action="login_locked")
    assert (entry.target_type, entry.target_id) == ("login", HERE)
    assert (entry.target_name, entry.user) == ("alice", None)


def test_an_operator_can_unlock() -> None:
    """All locks at once, or those of one name or one address."""
    for command, options in (("axes_reset", []), ("axes_reset_username", ["alice"]), ("axes_reset_ip", [HERE])):
        fail("alice", 5)
        call_command(command, *options, stdout=None)
        assert sign_in("alice", PASSWORD).status_code == 302


def test_what_was_typed_is_not_kept() -> None:
    """No password is in what django-axes writes down."""
    sign_in("alice", "canary-8f2e")
    assert "canary-8f2e" not in str(list(AccessAttempt.objects.values()))


def test_a_password_typed_as_name(caplog: pytest.LogCaptureFixture) -> None:
    """Is counted and locked like a name, but neither kept nor logged; what names a user is."""
    assert fail("canary-8f2e", 5) == [200] * 4 + [429]
    assert fail("alice", 1) == [200]
    rows = [*AccessAttempt.objects.values(), *AuditEntry.objects.values()]
    assert "canary-8f2e" not in str(rows) + caplog.text
    assert AccessAttempt.objects.filter(username="alice").exists()
    assert AuditEntry.objects.get(action="login_locked").target_name.startswith("unknown user •••")
    call_command("axes_reset_username", "canary-8f2e", stdout=None)
    assert [attempt.username for attempt in AccessAttempt.objects.all()] == ["alice"]


def test_signing_in_again_while_signed_in(client: Client) -> None:
    """Nothing counts that is right."""
    for _ in range(7):
        assert sign_in("alice", PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()
