"""Which sign-ins are locked, as `login_limits` has it."""

import datetime

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from aegis_site.access.locks import current_locks, unlock, unlock_user, with_locks
from aegis_site.kernel.audit.models import AuditEntry

pytestmark = pytest.mark.django_db

NOW = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC)


def failed(name: str, address: str, times: int, *, ago_s: float, agent: str = "x") -> None:
    attempt = AccessAttempt.objects.create(
        username=name, ip_address=address, user_agent=agent, failures_since_start=times
    )
    AccessAttempt.objects.filter(pk=attempt.pk).update(attempt_time=NOW - datetime.timedelta(seconds=ago_s))


def test_locks_by_name_and_by_address(settings: Settings) -> None:
    """Counted over all browsers; what is forgotten or below the limit is none. It ends after the last failure."""
    settings.AEGIS_LOGIN_COOL_OFF_S = 100
    failed("alice", "192.0.2.1", 3, ago_s=50)
    failed("alice", "192.0.2.1", 2, ago_s=20, agent="y")
    failed("alice", "192.0.2.3", 4, ago_s=20)
    failed("alice", "192.0.2.3", 4, ago_s=120, agent="y")
    for number in range(20):
        failed(f"user{number}", "192.0.2.2", 1, ago_s=number)
    found = {(lock.name, lock.address): (lock.failures, lock.until) for lock in current_locks(now=NOW)}
    assert found == {
        ("alice", "192.0.2.1"): (5, NOW + datetime.timedelta(seconds=80)),
        ("", "192.0.2.2"): (20, NOW + datetime.timedelta(seconds=100)),
    }
    for name in ("alice", "user0"):
        User.objects.create_user(name)
    locked = {user.username: user.is_locked_out for user in with_locks(User.objects.all(), now=NOW)}  # type: ignore[attr-defined]
    assert locked == {"alice": True, "user0": False}


def test_unlocking() -> None:
    """Only what was named, and only what is there is in the audit log."""
    admin = User.objects.create_superuser("root")
    alice = User.objects.create_user("alice")
    failed("alice", "192.0.2.1", 5, ago_s=0)
    failed("bob", "192.0.2.1", 5, ago_s=0)
    assert unlock(name="alice", address="192.0.2.1", by=admin)
    assert not unlock(name="alice", address="192.0.2.1", by=admin)
    assert not unlock_user(user=alice, by=admin)
    assert list(AccessAttempt.objects.values_list("username", flat=True)) == ["bob"]
    assert AuditEntry.objects.filter(action="login_unlocked").count() == 1
