"""Users, groups, passwords, sign-ins and sign-outs."""

import re
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client, RequestFactory

from aegis_site.kernel.audit import accounts
from aegis_site.kernel.audit.accounts import recordable_name
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.masking import MASK

pytestmark = pytest.mark.django_db

PASSWORD = "canary-password-1"


def entries() -> list[tuple[str, str, list[str]]]:
    """Action, name and fields of each entry, oldest first; they are forgotten then."""
    found = [
        (entry.action, entry.target_name, [change["field"] for change in entry.changes])
        for entry in AuditEntry.objects.order_by("pk")
    ]
    AuditEntry.objects.all().delete()
    return found


def try_to_sign_in(**credentials: str) -> Any:
    """The user, if it is one."""
    return authenticate(RequestFactory().post("/admin/login/"), **credentials)


@pytest.fixture
def eve() -> User:
    user = User.objects.create_user("eve", password=PASSWORD)
    AuditEntry.objects.all().delete()
    return user


@pytest.fixture
def readers() -> Group:
    group = Group.objects.create(name="readers")
    AuditEntry.objects.all().delete()
    return group


def test_making_a_user() -> None:
    """With all that it has; of the password a mask."""
    User.objects.create_superuser("eve", password=PASSWORD)
    entry = AuditEntry.objects.get()
    after = {change["field"]: change["after"] for change in entry.changes}
    assert (entry.action, entry.target_type, after["username"], after["is_superuser"]) == (
        "created",
        "user",
        "eve",
        True,
    )
    assert after["password"].startswith(MASK)


def test_changing_and_deleting_a_user(eve: User) -> None:
    """One entry each, with what differs."""
    eve.email, eve.is_active = "eve@example.com", False
    eve.save()
    eve.save()
    pk = eve.pk
    eve.delete()
    assert [entry[:2] for entry in entries()] == [("changed", "eve"), ("deleted", "eve")]
    assert not User.objects.filter(pk=pk).exists()


def test_a_password_is_said_to_be_changed(eve: User) -> None:
    """Never what it is, nor its hash."""
    eve.set_password(PASSWORD + "x")
    eve.save()
    (change,) = AuditEntry.objects.get().changes
    assert (change["field"], change["before"][:3], change["after"][:3]) == ("password", MASK, MASK)
    assert change["before"] != change["after"]


def test_a_hash_made_anew_is_no_change_of_a_password(eve: User, settings: Any) -> None:
    """Django does so at a sign-in when its parameters have changed."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    assert try_to_sign_in(username="eve", password=PASSWORD) == eve
    eve.refresh_from_db()
    assert eve.password.startswith("scrypt$")
    assert entries() == []


def test_groups_and_permissions_from_either_side(eve: User, readers: Group) -> None:
    """Whoever's rights change has the entry."""
    permission = Permission.objects.get(codename="view_host")
    readers.permissions.add(permission)
    assert entries() == [("changed", "readers", ["permissions[0]"])]
    eve.groups.add(readers)
    assert entries() == [("changed", "eve", ["groups[0]"])]
    readers.user_set.remove(eve)
    assert entries() == [("changed", "eve", ["groups[0]"])]
    readers.user_set.add(eve)
    readers.user_set.clear()
    assert entries() == [("changed", "eve", ["groups[0]"])] * 2
    eve.user_permissions.set([permission])
    eve.user_permissions.set([permission])
    assert entries() == [("changed", "eve", ["permissions[0]"])]
    readers.delete()
    assert entries() == [("deleted", "readers", ["name", "permissions"])]


def test_signing_in_and_out(client: Client, eve: User) -> None:
    """With address and origin."""
    User.objects.filter(pk=eve.pk).update(is_staff=True)
    client.post("/admin/login/", {"username": "eve", "password": PASSWORD})
    client.post("/admin/logout/")
    found = list(AuditEntry.objects.order_by("pk").values_list("action", "user", "origin", "client_address"))
    assert found == [("signed_in", eve.pk, "admin", "127.0.0.1"), ("signed_out", eve.pk, "admin", "127.0.0.1")]


def test_a_failed_sign_in_names_whom_it_was_tried_for(client: Client, eve: User) -> None:
    """The password that was tried is nowhere."""
    client.post("/admin/login/", {"username": "eve", "password": PASSWORD + "x"})
    try_to_sign_in(token="canary-token")
    named, nameless = AuditEntry.objects.order_by("pk")
    assert (named.action, named.target_name, named.user_name, named.changes) == ("sign_in_failed", "eve", "", [])
    assert nameless.target_name == ""
    rows = list(AuditEntry.objects.values())
    assert "canary" not in str(rows)


def test_what_is_no_name_is_not_recorded(client: Client, eve: User) -> None:
    """A password in the wrong field leaves a mark: the same for the same text, from which it cannot be told."""
    for typed in ("canary-1", "canary-1", "canary-2", "Eve", "eve\0", "canary" * 1000):
        try_to_sign_in(username=typed, password=PASSWORD)
    names = [entry.target_name for entry in AuditEntry.objects.order_by("pk")]
    assert names[0] == names[1]
    assert len(set(names)) == 5
    assert all(re.fullmatch("unknown user ••• [0-9a-f]{12}", name) for name in names)
    assert recordable_name("eve") == "eve"
    assert recordable_name("") == ""


def test_recording_a_name_costs_the_same_for_any(eve: User, django_assert_num_queries: Any) -> None:
    """Nobody learns by the time whether there is such a user."""
    for typed in ("eve", "nobody"):
        with django_assert_num_queries(1):
            recordable_name(typed)


def test_trying_passwords_does_not_fill_the_database(monkeypatch: pytest.MonkeyPatch, eve: User) -> None:
    """So many are recorded in a minute; successes always are."""
    monkeypatch.setattr(accounts, "FAILED_SIGN_INS_PER_MINUTE", 3)
    for _ in range(4):
        try_to_sign_in(username="eve", password="wrong")
    assert entries() == [("sign_in_failed", "eve", [])] * 3


def test_django_s_own_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave entries as well; fixtures that are loaded raw do not."""
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--noinput", "--username=eve", "--email=e@e.eu")
    assert [entry[:2] for entry in entries()] == [("created", "eve")]


def test_in_the_admin_a_form_makes_one_entry(admin_client: Client, eve: User, readers: Group) -> None:
    """Fields, groups and permissions together, for the user who sent it; nothing goes to Django's own log."""
    from django.contrib.admin.models import LogEntry

    permission = Permission.objects.get(codename="view_host")
    AuditEntry.objects.all().delete()
    data: dict[str, Any] = {
        "username": "eve",
        "email": "eve@example.com",
        "is_active": "on",
        "groups": [readers.pk],
        "user_permissions": [permission.pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    assert admin_client.post(f"/admin/auth/user/{eve.pk}/change/", data).status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.user_name, entry.origin, entry.action) == ("admin", "admin", "changed")
    assert [change["field"] for change in entry.changes] == ["email", "groups[0]", "permissions[0]"]
    assert not LogEntry.objects.exists()


def test_passwords_in_the_admin(admin_client: Client, eve: User) -> None:
    """On their own page; one entry."""
    AuditEntry.objects.all().delete()
    data = {"password1": PASSWORD + "x", "password2": PASSWORD + "x", "usable_password": "true"}
    assert admin_client.post(f"/admin/auth/user/{eve.pk}/password/", data).status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.user_name, [change["field"] for change in entry.changes]) == ("admin", ["password"])
    assert "canary" not in str(entry.changes)


def test_who_deletes_himself_is_named(admin_client: Client, admin_user: User) -> None:
    """Without a link to what is no more. Somebody has to stay who can put things right."""
    User.objects.create_superuser("another")
    AuditEntry.objects.all().delete()
    assert admin_client.post(f"/admin/auth/user/{admin_user.pk}/delete/", {"post": "yes"}).status_code == 302
    entry = AuditEntry.objects.get(action="deleted")
    assert (entry.user, entry.user_name, entry.target_name) == (None, "admin", "admin")


def test_deleting_several_in_the_list(admin_client: Client, eve: User, readers: Group) -> None:
    """One entry for each."""
    AuditEntry.objects.all().delete()
    for model, pk in (("user", eve.pk), ("group", readers.pk)):
        data = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
        assert admin_client.post(f"/admin/auth/{model}/", data).status_code == 302
    assert [entry[:2] for entry in entries()] == [("deleted", "eve"), ("deleted", "readers")]
