"""Admin pages of API tokens and groups."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from aegis_site.access.models import ApiToken, Session
from aegis_site.access.roles import Role, assign_role
from aegis_site.kernel.audit.models import AuditEntry
from tests.support.tokens import token_of

pytestmark = pytest.mark.django_db

LIST, ADD = "/admin/access/apitoken/", "/admin/access/apitoken/add/"


def user_with(role: Role, name: str = "") -> User:
    user = User.objects.create_user(name or role.value, is_staff=True)
    assign_role(user, role)
    return user


@pytest.fixture
def viewer(client: Client) -> User:
    """Signed in."""
    user = user_with(Role.VIEWER)
    client.force_login(user)
    return user


def test_a_new_token_is_shown_once_and_works(client: Client, viewer: User) -> None:
    """On the page that answers the POST: in no cookie, session, message, address, history or audit entry."""
    response = client.post(ADD, {"name": "metrics", "scope": "read", "lifetime_days": "30"})
    assert response.status_code == 200
    [secret] = set(re.findall("aegis_[0-9a-f]{64}", response.content.decode()))
    assert "no-store" in response["Cache-Control"]
    token = ApiToken.objects.get()
    assert (token.user, token.name, token.scope) == (viewer, "metrics", "read")
    random_part = secret.removeprefix("aegis_")[9:]
    kept = [response.headers, response.cookies, *LogEntry.objects.values(), *AuditEntry.objects.values()]
    kept += [session.get_decoded() for session in Session.objects.all()]
    kept += [client.get(page).content for page in (LIST, f"{LIST}{token.pk}/change/", f"{LIST}{token.pk}/history/")]
    assert all(random_part not in str(value) for value in kept)
    assert AuditEntry.objects.get(target_type="api_token").user == viewer
    assert Client().get("/api/v1/hosts", headers={"Authorization": f"Token {secret}"}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, "This field is required."),
        ({"lifetime_days": "0"}, "Ensure this value is greater than or equal to 1."),
        ({"lifetime_days": "3651"}, "Ensure this value is less than or equal to 3650."),
        ({"scope": "all"}, "Select a valid choice."),
    ],
)
@pytest.mark.usefixtures("viewer")
def test_what_a_form_may_not_say(client: Client, fields: dict[str, str], error: str) -> None:
    """Errors stand at their fields, and no token is made."""
    response = client.post(ADD, {"name": "metrics", "scope": "read", "lifetime_days": "30", **fields})
    assert error in response.content.decode()
    assert not ApiToken.objects.exists()


def test_a_token_is_always_ones_own(client: Client, viewer: User) -> None:
    """A user in the form is not listened to."""
    other = User.objects.create_superuser("root")
    client.post(ADD, {"name": "metrics", "scope": "write", "lifetime_days": "30", "user": str(other.pk)})
    assert ApiToken.objects.get().user == viewer


def test_own_tokens_are_seen_and_revoked_others_are_not(client: Client, viewer: User) -> None:
    """For who may not manage them, the tokens of others do not exist."""
    own, other = token_of(viewer, name="mine"), token_of(user_with(Role.OPERATOR), name="theirs")
    page = client.get(LIST).content.decode()
    assert "mine" in page
    assert "theirs" not in page
    for view in ("change", "delete", "history"):
        assert client.get(f"{LIST}{other.pk}/{view}/").status_code == 302
        assert client.get(f"{LIST}{own.pk}/{view}/").status_code == 200
    client.post(f"{LIST}{other.pk}/delete/", {"post": "yes"})
    client.post(LIST, {"action": "delete_selected", "_selected_action": [str(other.pk)], "post": "yes"})
    assert ApiToken.objects.filter(pk=other.pk).exists()
    client.post(f"{LIST}{own.pk}/delete/", {"post": "yes"})
    assert not ApiToken.objects.filter(pk=own.pk).exists()
    assert AuditEntry.objects.filter(action="revoked", user=viewer, target_id=str(own.pk)).exists()


def test_an_administrator_revokes_those_of_others(client: Client) -> None:
    """Several at once, too; each is in the audit log."""
    client.force_login(user_with(Role.ADMINISTRATOR))
    tokens = [token_of(user_with(role), name=f"of {role}") for role in (Role.VIEWER, Role.OPERATOR)]
    page = client.get(LIST).content.decode()
    assert "of viewer" in page
    assert "of operator" in page
    keys = [str(token.pk) for token in tokens]
    client.post(LIST, {"action": "delete_selected", "_selected_action": keys, "post": "yes"})
    assert not ApiToken.objects.exists()
    assert AuditEntry.objects.filter(action="revoked").count() == 2


def test_what_is_said_about_a_token(client: Client, viewer: User) -> None:
    """In the list and on its page: whether it works, and if not, why."""
    token = token_of(viewer)
    page = f"{LIST}{token.pk}/change/"
    assert all(">Valid<" in squeezed(client.get(url).content.decode()) for url in (LIST, page))
    ApiToken.objects.update(expiry=timezone.now())
    assert all(">Expired<" in squeezed(client.get(url).content.decode()) for url in (LIST, page))
    add_page = client.get(ADD).content.decode()
    assert "Save and add another" not in add_page


def squeezed(html: str) -> str:
    return re.sub(r"\s*([<>])\s*", r"\1", html)


def test_a_token_is_never_changed(client: Client, viewer: User) -> None:
    """A POST to its page is refused."""
    token = token_of(viewer)
    assert client.post(f"{LIST}{token.pk}/change/", {"name": "x", "scope": "write"}).status_code == 403
    assert ApiToken.objects.get().name == "test"


def test_the_list_takes_the_same_queries_for_many(client: Client, admin_user: User, admin_client: Client) -> None:
    """One more token is no further query."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    for _ in range(2):
        token_of(admin_user)
        admin_client.get(LIST)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            admin_client.get(LIST)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_groups_of_roles_are_what_the_code_says(admin_client: Client) -> None:
    """They are shown; others are changed and deleted as usual."""
    role, own = Group.objects.get(name="viewer"), Group.objects.create(name="auditors")
    permission = Permission.objects.get(codename="delete_host")
    for group, status in ((role, 403), (own, 302)):
        page = f"/admin/auth/group/{group.pk}/"
        assert admin_client.get(f"{page}change/").status_code == 200
        fields = {"name": group.name, "permissions": [str(permission.pk)]}
        assert admin_client.post(f"{page}change/", fields).status_code == status
        assert admin_client.post(f"{page}delete/", {"post": "yes"}).status_code == status
    assert Group.objects.filter(name="viewer").exists()
    assert not Group.objects.filter(name="auditors").exists()
    assert permission not in role.permissions.all()
