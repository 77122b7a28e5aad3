"""Making, using and revoking API tokens."""

import contextlib
import datetime
import logging
import sqlite3
import time

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection
from django.db.models import QuerySet
from django.utils import timezone

from aegis_site.access.models import ApiToken, Scope
from aegis_site.access.services import create_token, note_use, prune_tokens, revoke_token
from aegis_site.access.tasks import prune_expired_tokens
from aegis_site.kernel.audit.models import AuditEntry
from tests.support.tokens import token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def test_the_token_is_nowhere_in_its_row_or_in_the_audit_log(alice: User) -> None:
    """It is known to the new instance only."""
    token = token_of(alice)
    assert token.secret.startswith("aegis_")
    stored = ApiToken.objects.get()
    assert stored.secret == ""
    random_part = token.secret.removeprefix("aegis_")[9:]
    assert all(random_part not in str(value) for value in ApiToken.objects.values_list()[0])
    assert AuditEntry.objects.filter(target_type="api_token").exists()
    assert all(random_part not in str(entry) for entry in AuditEntry.objects.values())
    assert token.secret not in f"{token!r} {token}"


def test_what_the_audit_log_says(alice: User) -> None:
    """Who made and who revoked it, whose it is, what it may do and until when."""
    admin = User.objects.create_user("root")
    token = create_token(user=alice, name="metrics", scope=Scope.READ, lifetime_days=7, created_by=admin)
    key = token.pk
    revoke_token(token=token, user=admin)
    revoked, created = AuditEntry.objects.filter(target_type="api_token")
    assert (created.action, revoked.action) == ("created", "revoked")
    for entry in (created, revoked):
        assert (entry.user_name, entry.target_type, entry.target_id) == ("root", "api_token", str(key))
        assert entry.target_name == "metrics"
    assert created.changes[:2] == [
        {"field": "user", "before": None, "after": "alice"},
        {"field": "scope", "before": None, "after": "read"},
    ]
    assert revoked.changes[0] == {"field": "user", "before": "alice", "after": None}
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_bad_lifetimes(alice: User, days: int) -> None:
    """A token lives for at least a day and at most ten years."""
    with pytest.raises(ValidationError) as refusal:
        token_of(alice, lifetime_days=days)
    assert refusal.value.message_dict == {"lifetime_days": [f"{days} is not between 1 and 3650 days."]}


def test_a_name_is_needed(alice: User) -> None:
    """Nobody would know later what a token without one is for."""
    with pytest.raises(ValidationError) as refusal:
        token_of(alice, name="")
    assert list(refusal.value.message_dict) == ["name"]


def test_use_is_written_down_once_a_minute(alice: User) -> None:
    """The first use at once, the next after a minute, also when the instance is an old one."""
    token = token_of(alice)
    for at, expected in (("12:00:00", "12:00:00"), ("12:00:59", "12:00:00"), ("12:01:00", "12:01:00")):
        with time_machine.travel(f"2026-01-01 {at}+00:00", tick=False):
            note_use(ApiToken.objects.get())
            note_use(token)
        last_used_at = ApiToken.objects.get().last_used_at
        assert last_used_at is not None
        assert f"{last_used_at:%H:%M:%S}" == expected


def test_a_use_that_cannot_be_written_down_fails_nothing(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only or busy database costs the time of use, not the request."""
    token = token_of(alice)

    def fail(*args: object, **kwargs: object) -> int:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(QuerySet, "update", fail)
        note_use(token)
    assert "the use of an API token was not written down: DatabaseError" in caplog.text
    assert ApiToken.objects.get().last_used_at is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases have many writers")
def test_who_only_reads_does_not_wait_for_a_writer(alice: User) -> None:
    """An import keeps SQLite to itself for half a minute; before, each token waited ten seconds of it to be noted."""
    token = token_of(alice)
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        note_use(token)
        assert time.monotonic() - begun < 5
    note_use(token)
    assert ApiToken.objects.get().last_used_at is not None


def test_pruning(alice: User) -> None:
    """Thirty days after their end tokens go; the task does the same."""
    now = timezone.now()
    for days in (1, 0, -29, -31, -300):
        token = token_of(alice, name=str(days))
        ApiToken.objects.filter(pk=token.pk).update(expiry=now + datetime.timedelta(days=days))
    assert prune_tokens(now=now) == 2
    prune_expired_tokens()
    assert {token.name for token in ApiToken.objects.all()} == {"1", "0", "-29"}
