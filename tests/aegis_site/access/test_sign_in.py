"""Signing in with a second factor."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client

from aegis_site.access import second_factor
from aegis_site.access.models import Session
from aegis_site.kernel.audit.models import AuditEntry
from tests.support.second_factors import Enrolled, code_at, enrolled

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
BEGIN = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC)
CODE_PAGE = "/admin/login/code/"


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(BEGIN, tick=False) as clock:
        yield clock


@pytest.fixture
def alice(clock: time_machine.Traveller) -> Enrolled:
    user = User.objects.create_superuser("alice", password=PASSWORD)
    alice = enrolled(user, now=BEGIN)
    clock.shift(60)
    return alice


def password(client: Client, next_url: str = "/admin/", word: str = PASSWORD, name: str = "alice") -> Any:
    return client.post(f"/admin/login/?next={next_url}", {"username": name, "password": word})


def code(client: Client, alice: Enrolled) -> Any:
    return client.post(CODE_PAGE, {"code": code_at(alice.factor, datetime.datetime.now(datetime.UTC))})


def test_the_password_alone_gives_access_to_nothing(client: Client, alice: Enrolled) -> None:
    """Neither in the admin nor in the API; the code does, and `next` survives."""
    assert password(client, "/admin/settings/")["Location"] == CODE_PAGE
    assert client.get("/admin/settings/")["Location"].startswith("/admin/login/")
    assert client.get("/api/v1/hosts").status_code in (401, 403)
    assert not AuditEntry.objects.filter(action="signed_in").exists()
    page = client.get(CODE_PAGE)
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    key = client.session.session_key
    assert code(client, alice)["Location"] == "/admin/settings/"
    assert client.session.session_key != key
    assert client.get("/admin/settings/").status_code == 200
    assert client.get("/api/v1/hosts").status_code == 200
    assert client.get(CODE_PAGE)["Location"] == "/admin/login/"


def test_a_code_of_before_does_not_sign_in_again(client: Client, alice: Enrolled) -> None:
    """Whoever looked over the shoulder comes too late."""
    password(client)
    assert code(client, alice).status_code == 302
    other = Client()
    password(other)
    refused = code(other, alice)
    assert "was used before" in refused.content.decode()
    assert other.get("/admin/").status_code == 302


def test_other_hosts_are_not_led_to(client: Client, alice: Enrolled) -> None:
    """An open redirect would lead to a page that asks for the next code."""
    for url in ("https://evil.example/", "//evil.example/", "/%5Cevil.example"):
        password(client, url)
        location = client.session["aegis.waits_for_code"]["next"]
        assert location.startswith("/admin/")


def test_the_time_for_the_code_ends(client: Client, alice: Enrolled, clock: time_machine.Traveller) -> None:
    """After five minutes the password is asked for again; a new password ends it at once."""
    password(client)
    clock.shift(301)
    assert code(client, alice)["Location"] == "/admin/login/"
    password(client)
    alice.factor.user.set_password("another horse battery")
    alice.factor.user.save()
    assert code(client, alice)["Location"] == "/admin/login/"
    assert "The time for the code is over" in client.get("/admin/login/").content.decode()


def test_wrong_codes_lock(client: Client, alice: Enrolled) -> None:
    """Together with wrong passwords, and a right password forgives none; the page says until when."""
    assert password(client, word="wrong").status_code == 200
    for _ in range(2):
        password(client)
        assert client.post(CODE_PAGE, {"code": "wrong-code-4711"}).status_code == 200
    password(client)
    assert "wrong-code-4711" not in client.post(CODE_PAGE, {"code": "wrong-code-4711"}).content.decode()
    locked = client.post(CODE_PAGE, {"code": "x"})
    assert locked.status_code == 429
    text = locked.content.decode()
    assert "2026-01-01 12:16 UTC" in text
    assert code(client, alice).status_code == client.get(CODE_PAGE).status_code == 429
    assert password(client).status_code == 429
    assert "wrong-code-4711" not in str([*AccessAttempt.objects.values(), *AuditEntry.objects.values()])
    assert AuditEntry.objects.filter(action="sign_in_code_refused", target_name="alice").count() == 4
    assert AuditEntry.objects.filter(action="sign_in_failed").count() == 2  # one while it was locked
    other = Client(REMOTE_ADDR="192.0.2.9")
    password(other)
    assert code(other, alice).status_code == 302


def test_a_recovery_code_signs_in(client: Client, alice: Enrolled) -> None:
    """Once, and says how many are left."""
    password(client)
    assert client.post(CODE_PAGE, {"code": alice.codes[0]})["Location"] == "/admin/"
    assert "9 are left" in client.get("/admin/").content.decode()
    other = Client()
    password(other)
    assert other.post(CODE_PAGE, {"code": alice.codes[0]}).status_code == 200


def test_a_session_that_is_not_through_is_none(client: Client, alice: Enrolled) -> None:
    """However it came about."""
    client.force_login(alice.factor.user)
    assert client.get("/api/v1/hosts").status_code in (401, 403)
    assert client.get("/admin/settings/")["Location"] == "/admin/login/?next=/admin/settings/"
    assert not Session.objects.filter(user=alice.factor.user).exists()


def test_too_many_wrong_codes_from_everywhere(client: Client, alice: Enrolled) -> None:
    """The page says until when, and that a recovery code is accepted."""
    for number in range(10):
        elsewhere = Client(REMOTE_ADDR=f"192.0.2.{number}")
        password(elsewhere)
        elsewhere.post(CODE_PAGE, {"code": "000000"})
    password(client)
    assert "none is accepted before 2026-01-01 12:16 UTC" in code(client, alice).content.decode()
    assert client.post(CODE_PAGE, {"code": alice.codes[0]}).status_code == 302


def test_who_was_reset_is_told_once(client: Client, alice: Enrolled, clock: time_machine.Traveller) -> None:
    """At the next sign-in, which needs the password only."""
    password(client)
    code(client, alice)
    clock.shift(60)
    root = User.objects.create_superuser("root")
    second_factor.reset(user=alice.factor.user, by=root)
    assert client.get("/admin/").status_code == 302
    clock.shift(60)
    assert password(client)["Location"] == "/admin/"
    said = "was reset on 2026-01-01 12:02 UTC by root"
    assert said in client.get("/admin/").content.decode()
    clock.shift(60)
    password(client)
    assert said not in client.get("/admin/").content.decode()
