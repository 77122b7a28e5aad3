"""Users in the admin: a role in words, and somebody who administers always remains."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from aegis_site.access.forms import LAST_ADMINISTRATOR
from aegis_site.access.roles import Role, assign_role, role_of

pytestmark = pytest.mark.django_db

USERS = "/admin/auth/user/"


@pytest.fixture
def root(client: Client) -> User:
    """The only superuser, signed in."""
    user = User.objects.create_superuser("root", password="correct horse battery")
    client.force_login(user)
    return user


def add(name: str, role: Role | None = None, **values: Any) -> User:
    user = User.objects.create_user(name, is_staff=True, **values)
    assign_role(user, role)
    return user


def save(client: Client, user: User, **changes: Any) -> Any:
    """The form as it would be sent with everything unchanged, and `changes`; None leaves a field out."""
    stored = User.objects.get(pk=user.pk)
    fields = {
        "username": stored.username,
        "role": role_of(stored) or "",
        "is_active": "on" if stored.is_active else None,
        "is_staff": "on" if stored.is_staff else None,
        "is_superuser": "on" if stored.is_superuser else None,
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        **changes,
    }
    data = {name: value for name, value in fields.items() if value is not None}
    return client.post(f"{USERS}{user.pk}/change/", data)


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def test_a_new_user_has_a_role_and_may_sign_in(client: Client, root: User) -> None:
    """All in one form."""
    fields = {"username": "alice", "role": "operator", "usable_password": "true"}
    passwords = {"password1": "correct horse battery", "password2": "correct horse battery"}
    response = client.post(f"{USERS}add/", {**fields, **passwords})
    assert response.status_code == 302
    alice = User.objects.get(username="alice")
    assert (role_of(alice), alice.is_staff, alice.is_superuser) == (Role.OPERATOR, True, False)


def test_the_form_says_what_roles_are(client: Client, root: User) -> None:
    """In words, with the present one chosen; the groups of the roles are not offered a second time."""
    alice = add("alice", Role.VIEWER)
    page = client.get(f"{USERS}{alice.pk}/change/").content.decode()
    assert "Operator: also changes hosts and runs tests" in page
    assert '<option value="viewer" selected>' in page
    assert "No role: may sign in and sees nothing" in page
    assert "No role: a superuser needs none" in client.get(f"{USERS}{root.pk}/change/").content.decode()
    form = client.get(f"{USERS}{alice.pk}/change/").context["adminform"].form
    assert not form.fields["groups"].queryset.exists()


def test_a_role_is_changed_and_other_groups_stay(client: Client, root: User) -> None:
    """A user has one role; groups beside it are as the form says."""
    group = Group.objects.create(name="auditors")
    alice = add("alice", Role.VIEWER)
    for role in (Role.ADMINISTRATOR, Role.OPERATOR, None):
        assert save(client, alice, role=role or "", groups=[str(group.pk)]).status_code == 302
        assert role_of(alice) is role
        assert group in alice.groups.all()


@pytest.mark.parametrize("field", ["is_active", "is_staff", "is_superuser"])
def test_the_last_superuser_stays(client: Client, root: User, field: str) -> None:
    """Refused at the field; with another administrator who is active it is done."""
    add("gone", Role.ADMINISTRATOR, is_active=False)
    assert errors(save(client, root, **{field: None})) == {field: [LAST_ADMINISTRATOR]}
    root.refresh_from_db()
    assert getattr(root, field)
    add("alice", Role.ADMINISTRATOR)
    assert save(client, root, **{field: None}).status_code == 302


def test_the_last_administrator_stays(client: Client) -> None:
    """Also without any superuser: neither its role nor its being active can be taken."""
    alice = add("alice", Role.ADMINISTRATOR)
    client.force_login(alice)
    assert errors(save(client, alice, role="viewer")) == {"role": [LAST_ADMINISTRATOR]}
    assert errors(save(client, alice, is_active=None)) == {"is_active": [LAST_ADMINISTRATOR]}
    assert role_of(alice) is Role.ADMINISTRATOR
    add("bob", Role.ADMINISTRATOR)
    assert save(client, alice, role="viewer").status_code == 302


def test_a_superuser_with_a_role_may_lose_either(client: Client, root: User) -> None:
    """What remains is enough."""
    assign_role(root, Role.ADMINISTRATOR)
    assert save(client, root, is_superuser=None).status_code == 302
    assert errors(save(client, root, role="")) == {"role": [LAST_ADMINISTRATOR]}


def test_the_last_one_is_not_deleted(client: Client, root: User) -> None:
    """From its page or from the list, alone or together with all others."""
    alice = add("alice", Role.VIEWER)
    selected = {"action": "delete_selected", "_selected_action": [str(root.pk), str(alice.pk)], "post": "yes"}
    for response in (client.post(f"{USERS}{root.pk}/delete/", {"post": "yes"}), client.post(USERS, selected)):
        assert LAST_ADMINISTRATOR in response.content.decode()
        assert User.objects.count() == 2
    assert client.post(f"{USERS}{alice.pk}/delete/", {"post": "yes"}).status_code == 302
    assert User.objects.count() == 1


def test_an_administrator_does_not_rise_above(client: Client, root: User) -> None:
    """It makes nobody superuser and touches none: not by the form, a new password, or deletion."""
    alice = add("alice", Role.ADMINISTRATOR)
    client.force_login(alice)
    assert save(client, alice, is_superuser="on").status_code == 302
    alice.refresh_from_db()
    assert not alice.is_superuser
    page = f"{USERS}{root.pk}/"
    assert client.get(f"{page}change/").status_code == 200
    assert save(client, root, first_name="x").status_code == 403
    passwords = {"password1": "another horse battery", "password2": "another horse battery", "usable_password": "true"}
    assert client.post(f"{page}password/", passwords).status_code == 403
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": [str(root.pk)], "post": "yes"})
    root.refresh_from_db()
    assert root.check_password("correct horse battery")


def test_the_list_shows_roles(client: Client, root: User) -> None:
    """The most powerful one of each, in a constant number of queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR, None):
        add(f"user-{role}", role)
        with CaptureQueriesContext(connection) as queries:
            page = client.get(USERS).content.decode()
        counts.append(len(queries))
    assert len(set(counts[1:])) == 1
    for shown in ("Superuser", "Viewer", "Operator", "Administrator", "No role"):
        assert shown in page
