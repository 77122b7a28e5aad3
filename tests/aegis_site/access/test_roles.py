"""The roles: what each may do, and that they stay so."""

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.management import call_command

from aegis_site.access.roles import (
    MODELS,
    Kind,
    Role,
    administrators,
    assign_role,
    has_any_permission,
    role_of,
)
from aegis_site.environment import BASE_DIR

pytestmark = pytest.mark.django_db


def permissions_of(role: Role) -> set[str]:
    of_group = Permission.objects.filter(group__name=role.value).values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in of_group}


def test_every_model_of_ours_is_in_the_table() -> None:
    """A new model gets a line in `MODELS`: otherwise no role could see it."""
    packages = [path.name for path in BASE_DIR.iterdir()]
    ours = {model._meta.label_lower for model in apps.get_models() if model.__module__.split(".")[0] in packages}
    assert "hosts.host" in ours
    assert ours - set(MODELS) == set()


def test_a_viewer_only_views() -> None:
    """Everything but users and logs; beside that, each has tokens of its own."""
    granted = permissions_of(Role.VIEWER)
    own = {"access.view_apitoken", "access.add_apitoken", "access.delete_apitoken"}
    assert own <= granted
    assert {permission.partition(".")[2].partition("_")[0] for permission in granted - own} == {"view"}
    installed = {model._meta.label_lower for model in apps.get_models()}
    seen = {label for label, kind in MODELS.items() if kind not in (Kind.GUARDED, Kind.WATCHED, Kind.INTERNAL)}
    viewed = {permission.replace(".view_", ".") for permission in granted if ".view_" in permission}
    assert viewed == seen & installed


def test_an_operator_changes_hosts_and_nothing_else() -> None:
    """And when maintenance is; it sees logs. No CA, no settings, no users, no tokens of others, no channels."""
    more = permissions_of(Role.OPERATOR) - permissions_of(Role.VIEWER)
    of_hosts = {"hosts", "upstream_tls", "healthchecks"}
    assert {permission.partition(".")[0] for permission in more} == of_hosts | {"notifications", "logs"}
    assert {permission for permission in more if permission.startswith("logs.")} == {"logs.view_log"}
    assert {permission for permission in more if permission.startswith("notifications.")} == {
        f"notifications.{verb}_maintenancewindow" for verb in ("add", "change", "delete")
    }
    assert {"hosts.add_host", "hosts.change_host", "hosts.delete_host"} <= more
    assert {"hosts.change_proxyworker", "hosts.export_host_secrets"} & more == set()


def test_an_administrator_may_do_everything() -> None:
    """Permissions of our models that are not Django's four included."""
    granted = permissions_of(Role.ADMINISTRATOR)
    assert granted > permissions_of(Role.OPERATOR)
    assert {"localca.add_issuedcertificate", "auth.change_user", "access.manage_apitoken"} <= granted
    assert "hosts.export_host_secrets" in granted


def test_migrate_puts_them_right_and_leaves_other_groups_alone() -> None:
    """Also after the group was changed or deleted by hand; its members are kept."""
    before = {role: permissions_of(role) for role in Role}
    viewer, own = Group.objects.get(name="viewer"), Group.objects.create(name="auditors")
    user = User.objects.create_user("alice")
    user.groups.add(viewer)
    viewer.permissions.set(Permission.objects.filter(codename__in=["delete_host", "view_user"]))
    own.permissions.set(Permission.objects.filter(codename="view_host"))
    Group.objects.get(name="operator").delete()
    for _ in range(2):
        call_command("migrate", verbosity=0)
        assert {role: permissions_of(role) for role in Role} == before
    assert role_of(user) is Role.VIEWER
    assert own.permissions.count() == 1


def test_one_role_at_a_time() -> None:
    """Another role replaces it; other groups stay."""
    user = User.objects.create_user("alice")
    user.groups.add(Group.objects.create(name="auditors"))
    for role in (None, *Role, None):
        assign_role(user, role)
        assert role_of(user) is role
    assert [group.name for group in user.groups.all()] == ["auditors"]


def test_of_several_roles_the_most_powerful_counts() -> None:
    """Groups can be given by other ways than the form."""
    user = User.objects.create_user("alice")
    user.groups.set(Group.objects.filter(name__in=["viewer", "operator"]))
    assert role_of(user) is Role.OPERATOR


def test_who_may_do_anything() -> None:
    """A role, a permission or being superuser, while active."""
    user = User.objects.create_user("alice")
    assert not has_any_permission(AnonymousUser())
    assert not has_any_permission(user)
    assign_role(user, Role.VIEWER)
    assert has_any_permission(User.objects.get())
    assert has_any_permission(User(is_superuser=True))
    assert not has_any_permission(User(is_superuser=True, is_active=False))


def test_who_administers() -> None:
    """Active, allowed into the admin, and superuser or administrator; nobody twice."""
    boss = User.objects.create_superuser("boss")
    User.objects.create_superuser("gone", is_active=False)
    User.objects.create_user("script", is_superuser=True)
    alice = User.objects.create_user("alice", is_staff=True)
    for user in (boss, alice):
        user.groups.set(Group.objects.all())
    assert {user.username for user in administrators()} == {"boss", "alice"}
    assert administrators().count() == 2
