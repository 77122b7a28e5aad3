"""Pages of one's own account, and of who is signed in or locked out."""

import datetime
import re
import uuid
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aegis_site.access.models import SecondFactor, Session
from aegis_site.access.second_factor import pending_factor, secret_of
from aegis_site.kernel.audit.models import AuditEntry
from tests.support.roles import user_of
from tests.support.second_factors import Enrolled, code_at, enrolled

pytestmark = pytest.mark.django_db

PAGE, SESSIONS, ALL_SESSIONS, LOCKS = (
    f"/admin/{path}/" for path in ("two-factor", "sessions", "sessions/all", "sign-in-locks")
)
PASSWORD = "correct horse battery"
CODE = re.compile("[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}")


def minutes_ago(count: float) -> datetime.datetime:
    return timezone.now() - datetime.timedelta(minutes=count)


@pytest.fixture
def alice() -> User:
    user = user_of("viewer")
    user.username = "alice"
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def on(client: Client, alice: User) -> Enrolled:
    """Signed in by password and recovery code."""
    on = enrolled(alice, now=minutes_ago(10))
    client.post("/admin/login/", {"username": "alice", "password": PASSWORD})
    assert client.post("/admin/login/code/", {"code": on.codes[9]}).status_code == 302
    return on


def test_setting_it_up(client: Client, alice: User) -> None:
    """Picture and secret, a wrong code, the right one; ten codes that are shown once; the session goes on."""
    client.force_login(alice)
    assert "Set up two-factor sign-in" in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"action": "begin"})["Location"] == PAGE
    page = client.get(PAGE)
    pending = pending_factor(alice)
    assert pending is not None
    secret = secret_of(pending)
    assert secret in page.content.decode().replace(" ", "")
    assert "<svg" in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert "This is not the code of now." in client.post(PAGE, {"action": "confirm", "code": "1"}).content.decode()
    shown = client.post(PAGE, {"action": "confirm", "code": code_at(pending, timezone.now())})
    assert len(CODE.findall(shown.content.decode())) == 10
    assert "no-store" in shown["Cache-Control"]
    again = client.get(PAGE).content.decode()
    assert "10 recovery codes are left" in again
    assert not CODE.findall(again)
    assert secret not in again.replace(" ", "")
    assert client.post(PAGE, {"action": "begin"}).status_code == 302
    assert SecondFactor.objects.get().confirmed_at is not None


def test_proof_is_needed_to_change_it(client: Client, alice: User, on: Enrolled) -> None:
    """Password and code, wrong ones at their field; a wrong password uses no code up. New codes replace old ones."""
    code = code_at(on.factor, timezone.now())
    proof = {"password": PASSWORD, "code": code}
    refused = client.post(PAGE, {**proof, "action": "renew", "password": "canary-3b1f"})
    assert refused.context["renew_form"].errors == {"password": ["This is not your password."]}
    assert "canary-3b1f" not in refused.content.decode()
    refused = client.post(PAGE, {**proof, "action": "off", "code": "000-canary"})
    assert "code" in refused.context["off_form"].errors
    assert "canary" not in str([*AccessAttempt.objects.values(), *AuditEntry.objects.values()])
    assert AccessAttempt.objects.get().failures_since_start == 2
    new = client.post(PAGE, {**proof, "action": "renew"}).content.decode()
    assert len(CODE.findall(new)) == 10
    assert not set(CODE.findall(new)) & set(on.codes)
    assert client.post(PAGE, {**proof, "action": "off"}).status_code == 200, "the code was used"
    recovery = CODE.findall(new)[0]
    assert client.post(PAGE, {**proof, "action": "off", "code": recovery})["Location"] == PAGE
    assert not SecondFactor.objects.exists()
    assert "Two-factor sign-in is off" in client.get(PAGE).content.decode()


def test_proofs_are_limited_like_sign_ins(client: Client, on: Enrolled) -> None:
    """Whoever has the browser cannot guess the password in it."""
    wrong = {"action": "off", "password": "wrong", "code": "000000"}
    assert [client.post(PAGE, wrong).status_code for _ in range(5)] == [200] * 4 + [429]
    right = {"action": "off", "password": PASSWORD, "code": on.codes[0]}
    assert client.post(PAGE, right).status_code == 429
    assert SecondFactor.objects.exists()


@pytest.mark.parametrize("action", ["", "delete", "x" * 9])
def test_unknown_actions(client: Client, alice: User, action: str) -> None:
    """400, and nothing is done."""
    client.force_login(alice)
    assert client.post(PAGE, {"action": action}).status_code == 400
    assert client.post(SESSIONS, {"end": action}).status_code == 400


def test_ones_own_sessions(client: Client, alice: User) -> None:
    """From where, since when, with what; one is ended, then all others; the key of none is on the page."""
    headers = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    others = [Client(headers=headers, REMOTE_ADDR=f"192.0.2.{number}") for number in (1, 2, 3)]
    for browser in (client, *others):
        browser.post("/admin/login/", {"username": "alice", "password": PASSWORD})
    page = client.get(SESSIONS).content.decode()
    assert page.count("Firefox on Linux") == 3
    assert "192.0.2.2" in page
    assert "This session" in page
    assert not any(session.session_key in page for session in Session.objects.all())
    ended = Session.objects.get(client_address="192.0.2.2")
    assert client.post(SESSIONS, {"end": str(ended.public_id)})["Location"] == SESSIONS
    assert [browser.get("/admin/").status_code for browser in others] == [200, 302, 200]
    assert client.post(SESSIONS, {"others": "1"}).status_code == 302
    assert [browser.get("/admin/").status_code for browser in (client, *others)] == [200, 302, 302, 302]
    entries = AuditEntry.objects.filter(action="sessions_ended", user=alice)
    assert [entry.changes[0]["after"] for entry in entries.order_by("pk")] == [1, 2]


def test_sessions_of_others(client: Client, alice: User) -> None:
    """Whoever may change users ends them, but only superusers those of superusers; nobody else's by the own page."""
    root = User.objects.create_superuser("root")
    administrator = user_of("administrator")
    browsers = {user.username: Client() for user in (root, administrator, alice)}
    for user in (root, administrator, alice):
        browsers[user.username].force_login(user)
    mine = browsers["administrator"]
    page = mine.get(ALL_SESSIONS).content.decode()
    assert all(f">{name}<" in page for name in browsers)
    ids = {
        session.user.username: str(session.public_id)
        for session in Session.objects.select_related("user")
        if session.user
    }
    assert mine.post(SESSIONS, {"end": ids["alice"]}).status_code == 302
    assert browsers["alice"].get("/admin/").status_code == 200
    assert mine.post(ALL_SESSIONS, {"end": ids["root"]}).status_code == 403
    assert mine.post(ALL_SESSIONS, {"end": ids["alice"]}).status_code == 302
    assert browsers["alice"].get("/admin/").status_code == 302
    assert browsers["root"].post(ALL_SESSIONS, {"end": ids["administrator"]}).status_code == 302
    assert mine.get("/admin/").status_code == 302
    assert browsers["root"].post(ALL_SESSIONS, {"end": str(uuid.uuid4())}).status_code == 302


def test_lists_cost_the_same(admin_client: Client) -> None:
    """However many sessions and locks there are; pages have 50 sessions."""
    counts = []
    for more in (1, 60):
        for number in range(more):
            user = User.objects.create_user(f"user{more}-{number}")
            Client().force_login(user)
            AccessAttempt.objects.create(username=user.username, ip_address="192.0.2.1", failures_since_start=5)
        with CaptureQueriesContext(connection) as queries:
            pages = [admin_client.get(url) for url in (ALL_SESSIONS, LOCKS, "/admin/auth/user/")]
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert "Page 1 of 2" in pages[0].content.decode()


def fail(name: str, times: int, address: str) -> Any:
    for _ in range(times):
        last = Client().post("/admin/login/", {"username": name, "password": "x"}, REMOTE_ADDR=address)
    return last


def test_locked_sign_ins(admin_client: Client, alice: User) -> None:
    """Which name, from where, until when; unlocked by a POST, which the audit log has. The list of users shows it."""
    assert fail("alice", 5, "192.0.2.1").status_code == 429
    for number in range(20):
        fail(f"user{number}", 1, "192.0.2.2")
    page = admin_client.get(LOCKS).content.decode()
    assert "alice" in page
    assert "Every name" in page
    assert "unknown user" not in page, "one failure of a name locks nothing"
    users = admin_client.get("/admin/auth/user/").content.decode()
    assert users.count("Locked<") + users.count("Locked\n") == 1
    assert admin_client.post(LOCKS, {"name": "alice", "address": "192.0.2.1"})["Location"] == LOCKS
    assert "alice" not in admin_client.get(LOCKS).content.decode()
    right = {"username": "alice", "password": PASSWORD}
    assert Client().post("/admin/login/", right, REMOTE_ADDR="192.0.2.1").status_code == 302
    assert Client().post("/admin/login/", right, REMOTE_ADDR="192.0.2.2").status_code == 429
    assert admin_client.post(LOCKS, {"name": "", "address": "192.0.2.2"}).status_code == 302
    assert Client().post("/admin/login/", right, REMOTE_ADDR="192.0.2.2").status_code == 302
    entries = AuditEntry.objects.filter(action="login_unlocked").order_by("pk")
    assert [(entry.target_name, entry.target_id) for entry in entries] == [("alice", "192.0.2.1"), ("", "192.0.2.2")]
    assert admin_client.post(LOCKS, {"name": "alice", "address": "nonsense"}).status_code == 400
    assert (
        "was not locked any more"
        in admin_client.post(LOCKS, {"name": "", "address": "::1"}, follow=True).content.decode()
    )


def test_locked_codes(admin_client: Client, alice: User) -> None:
    """Whatever the address."""
    factor = enrolled(alice, now=timezone.now()).factor
    SecondFactor.objects.update(failures=10, refused_until=timezone.now() + datetime.timedelta(minutes=5))
    assert "Codes of alice" in admin_client.get(LOCKS).content.decode()
    assert admin_client.post(LOCKS, {"factor": str(factor.pk)}).status_code == 302
    factor.refresh_from_db()
    assert (factor.failures, factor.refused_until) == (0, None)
    assert AuditEntry.objects.get(action="codes_unlocked").target_name == "alice"


def test_a_user_is_unlocked_on_its_page(admin_client: Client, alice: User) -> None:
    """Offered when there is a lock, of sign-ins or of codes; from every address at once."""
    page, url = f"/admin/auth/user/{alice.pk}/change/", f"/admin/auth/user/{alice.pk}/unlock/"
    assert "Unlock sign-in" not in admin_client.get(page).content.decode()
    enrolled(alice, now=timezone.now())
    SecondFactor.objects.update(failures=10, refused_until=timezone.now() + datetime.timedelta(minutes=5))
    for address in ("192.0.2.1", "192.0.2.2"):
        assert fail("alice", 5, address).status_code == 429
    assert "Unlock sign-in" in admin_client.get(page).content.decode()
    admin_client.get(url)
    assert AccessAttempt.objects.count() == 2
    for said in ("The sign-in of alice is unlocked.", "alice was not locked any more."):
        assert said in admin_client.post(url, {"_form_submitted": "1"}, follow=True).content.decode()
    assert not AccessAttempt.objects.exists()
    assert not SecondFactor.objects.filter(failures__gt=0).exists()
    assert AuditEntry.objects.get(action="login_unlocked").target_name == "alice"


def test_an_administrator_resets_it(client: Client, alice: User) -> None:
    """On the page of the user; that of a superuser only a superuser."""
    enrolled(alice, now=timezone.now())
    root = User.objects.create_superuser("root")
    enrolled(root, now=timezone.now())
    client.force_login(user_of("administrator"))
    url = "/admin/auth/user/{}/reset-two-factor/"
    assert "Reset two-factor" in client.get(f"/admin/auth/user/{alice.pk}/change/").content.decode()
    assert "Reset two-factor" not in client.get(f"/admin/auth/user/{root.pk}/change/").content.decode()
    client.get(url.format(alice.pk))
    assert SecondFactor.objects.count() == 2
    sent = {"_form_submitted": "1"}
    assert client.post(url.format(alice.pk), sent)["Location"] == f"/admin/auth/user/{alice.pk}/change/"
    assert client.post(url.format(root.pk), sent).status_code == 403
    assert [factor.user for factor in SecondFactor.objects.all()] == [root]
    entry = AuditEntry.objects.get(action="second_factor_reset")
    assert (entry.user_name, entry.target_name) == ("administrator", "alice")
