"""Sessions: seen once a minute, ended by a new password, pruned."""

import datetime

import pytest
import time_machine
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import UpdateError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aegis_site.access import session_list
from aegis_site.access.models import SecondFactor, Session
from aegis_site.access.second_factor import begin
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db

PASSWORD, OTHER_PASSWORD = "correct horse battery", "another horse battery"
BEGIN = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC)


def seconds(count: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=count)


def test_last_seen_is_written_once_a_minute(client: Client) -> None:
    """Whatever is asked for, in the API as well."""
    with time_machine.travel(BEGIN, tick=False) as clock:
        client.force_login(user_of("viewer"))
        for shift_s, path, seen_s in ((30, "/admin/", 0), (31, "/api/v1/hosts", 61), (10, "/admin/", 61)):
            clock.shift(shift_s)
            with CaptureQueriesContext(connection) as queries:
                assert client.get(path).status_code == 200
            assert Session.objects.get().last_seen_at == BEGIN + seconds(seen_s)
            writes = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
            assert len(writes) == (shift_s == 31)
        row = Session.objects.get()
        assert (row.began_at, row.client_address, row.browser) == (BEGIN, None, "unknown client")


def test_a_new_password_ends_the_others(client: Client) -> None:
    """Of its user, and the page says so; it goes on here with another key."""
    user = User.objects.create_superuser("root", password=PASSWORD)
    other, third = Client(), Client()
    client.force_login(user)
    other.force_login(user)
    third.force_login(user_of("viewer"))
    key = client.session.session_key
    passwords = {"old_password": PASSWORD, "new_password1": OTHER_PASSWORD, "new_password2": OTHER_PASSWORD}
    done = client.post("/admin/password_change/", passwords, follow=True)
    assert "all your other sessions have ended" in done.content.decode()
    assert {session.user for session in Session.objects.all()} == {user, User.objects.get(username="viewer")}
    assert Session.objects.count() == 2
    assert client.session.session_key != key
    assert [browser.get("/admin/").status_code for browser in (client, other, third)] == [200, 302, 200]


def test_an_administrator_takes_a_password_away(admin_client: Client, client: Client) -> None:
    """A user without a password has no session either."""
    user = User.objects.create_user("carol", password=PASSWORD, is_staff=True)
    browser = Client()
    browser.force_login(user)
    url = f"/admin/auth/user/{user.pk}/password/"
    assert admin_client.post(url, {"usable_password": "false", "unset-password": "1"}).status_code == 302
    assert not Session.objects.filter(user=user).exists()


def test_the_same_password_with_other_parameters(client: Client) -> None:
    """Django's own rehashing at a sign-in is no new password."""
    user = User.objects.create_user("carol", password=PASSWORD, is_staff=True)
    client.force_login(user)
    user.save()
    user.save(update_fields=["last_login"])
    assert Session.objects.count() == 1


def test_what_is_over_is_pruned(client: Client) -> None:
    """Expired sessions, and secrets that nobody confirmed."""
    user = user_of("viewer")
    with time_machine.travel(BEGIN, tick=False) as clock:
        client.force_login(user)
        begin(user=user)
        assert session_list.live_sessions(now=BEGIN).count() == 1
        clock.shift(datetime.timedelta(days=10))
        Client().force_login(user)
        clock.shift(datetime.timedelta(days=5))
        assert session_list.live_sessions(now=BEGIN + datetime.timedelta(days=15)).count() == 1
        assert session_list.prune(now=BEGIN + datetime.timedelta(days=15)) == 1
    assert Session.objects.count() == 1
    assert not SecondFactor.objects.exists()


def test_an_ended_session_stays_ended(client: Client) -> None:
    """A request that was under way when it ended does not bring it back."""
    client.force_login(user_of("viewer"))
    store = client.session
    store["something"] = 1
    Session.objects.all().delete()
    with pytest.raises(UpdateError):
        store.save()
    assert not Session.objects.exists()


def test_users_that_are_deleted_leave_none(client: Client) -> None:
    """Nor do inactive ones stand in the list."""
    user = user_of("viewer")
    client.force_login(user)
    User.objects.update(is_active=False)
    assert not session_list.live_sessions(now=BEGIN).exists()
    user.delete()
    assert not Session.objects.exists()
