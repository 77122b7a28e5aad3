"""The three roles, and what each may do.

Laws of this module:
- `MODELS` is the one place that says who may do what with a model of Aegis. A model that is missing there is in no
  role, and a test fails.
- A role is a group of Django's. Its permissions are made equal to this table after every `migrate`; groups of other
  names are left alone.
- Superusers stand above: they alone make superusers.
"""

from enum import Enum
from typing import Any

from django.apps import apps as global_apps
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import models, transaction
from django.db.models import Q, QuerySet


class Role(models.TextChoices):
    """The name of the group, and what a person reads."""

    VIEWER = "viewer", "Viewer: sees everything but users and logs, changes nothing"
    OPERATOR = "operator", "Operator: also changes hosts and runs tests"
    ADMINISTRATOR = "administrator", "Administrator: everything, with CA, settings and users"


class Kind(Enum):
    """Who may do what with a model."""

    SEEN = "everyone views it, administrators change it"
    OPERATED = "everyone views it, operators and administrators change it"
    WATCHED = "operators and administrators view it, nobody changes it"
    OWN = "everyone has some of their own; administrators see those of others"
    GUARDED = "only administrators see it"
    INTERNAL = "nobody touches it by a page or a route"


MODELS = {
    "hosts.host": Kind.OPERATED,
    "hosts.domain": Kind.OPERATED,
    "hosts.upstream": Kind.OPERATED,
    "hosts.downstreamtlsconfiguration": Kind.OPERATED,
    "hosts.trafficconfiguration": Kind.OPERATED,
    "upstream_tls.upstreamtlsconfiguration": Kind.OPERATED,
    "upstream_tls.certificaterequest": Kind.OPERATED,
    "healthchecks.healthcheck": Kind.OPERATED,
    "healthchecks.upstreamhealth": Kind.SEEN,
    "healthchecks.healthtransition": Kind.SEEN,
    "healthchecks.healthsummary": Kind.SEEN,
    "healthchecks.failuregroup": Kind.OPERATED,
    "healthchecks.failurecount": Kind.INTERNAL,
    "hosts.rotation": Kind.OPERATED,
    "hosts.issuedcandidate": Kind.INTERNAL,
    "hosts.connectiontest": Kind.SEEN,
    "hosts.upstreamfailure": Kind.SEEN,
    "hosts.trafficsample": Kind.SEEN,
    "hosts.proxyworker": Kind.SEEN,
    "hosts.compiledhost": Kind.SEEN,
    "hosts.generationcounter": Kind.INTERNAL,
    "logs.log": Kind.WATCHED,
    "idempotency.keptanswer": Kind.INTERNAL,
    "localca.certificateauthority": Kind.SEEN,
    "localca.issuedcertificate": Kind.SEEN,
    "localca.revocationlist": Kind.SEEN,
    "site_settings.sitesettings": Kind.SEEN,
    "notifications.channel": Kind.GUARDED,
    "notifications.delivery": Kind.GUARDED,
    "notifications.maintenancewindow": Kind.OPERATED,
    "notifications.notedevent": Kind.SEEN,
    "notifications.incident": Kind.INTERNAL,
    "audit.auditentry": Kind.SEEN,
    "access.apitoken": Kind.OWN,
    "access.session": Kind.INTERNAL,
    "access.secondfactor": Kind.INTERNAL,
    "access.recoverycode": Kind.INTERNAL,
    "access.generatedpassword": Kind.INTERNAL,
    "auth.user": Kind.GUARDED,
    "auth.group": Kind.GUARDED,
}

_READING = ("view",)
_OWNING = ("view", "add", "delete")
# Not what a model may have besides, such as the export of its keys.
_OPERATING = ("view", "add", "change", "delete")

# What a role gets of a model of each kind: nothing of those that are missing; None stands for all, custom permissions
# included.
_GRANTS: dict[Role, dict[Kind, tuple[str, ...] | None]] = {
    Role.VIEWER: {Kind.SEEN: _READING, Kind.OPERATED: _READING, Kind.OWN: _OWNING},
    Role.OPERATOR: {Kind.SEEN: _READING, Kind.OPERATED: _OPERATING, Kind.WATCHED: _READING, Kind.OWN: _OWNING},
    Role.ADMINISTRATOR: dict.fromkeys((Kind.SEEN, Kind.OPERATED, Kind.WATCHED, Kind.OWN, Kind.GUARDED)),
}


def keep_roles_right(app_config: Any, using: str, apps: Any = global_apps, **kwargs: Any) -> None:
    """Receiver of `post_migrate`, which comes once for each app: the roles' permissions on the models of that app.

    Connected after Django's own receiver, which makes the permissions. Rows are written without signals: nobody did
    this, so nothing is to be noted about anybody.
    """
    try:
        Permission, Group = (apps.get_model("auth", name) for name in ("Permission", "Group"))  # noqa: N806 (models)
    except LookupError:  # migrated back to before there were any
        return
    groups, link = Group.objects.using(using), Group.permissions.through
    of_app = Permission.objects.using(using).filter(content_type__app_label=app_config.label)
    links = link._default_manager.using(using).filter(group__name__in=Role.values, permission__in=of_app)
    if all(label.partition(".")[0] != app_config.label for label in MODELS):
        links.delete()
        return
    groups.bulk_create([Group(name=role.value) for role in Role], ignore_conflicts=True)
    group_ids = dict(groups.filter(name__in=Role.values).values_list("name", "pk"))
    wanted = {
        (group_ids[role.value], permission)
        for role in Role
        for permission in of_app.filter(_granted(role, app_config.label)).values_list("pk", flat=True)
    }
    present = {(row.group_id, row.permission_id): row.pk for row in links}
    links.filter(pk__in=[key for pair, key in present.items() if pair not in wanted]).delete()
    link._default_manager.using(using).bulk_create(
        [link(group_id=group, permission_id=permission) for group, permission in sorted(wanted - present.keys())],
        ignore_conflicts=True,
    )


def _granted(role: Role, app_label: str) -> Q:
    """Which permissions of an app a role has."""
    granted = Q(pk__in=[])
    for label, kind in MODELS.items():
        app, _, model = label.partition(".")
        if app != app_label:
            continue
        verbs = _GRANTS[role].get(kind, ())
        of_model = Q(content_type__model=model)
        if verbs is not None:
            of_model &= Q(codename__in=[f"{verb}_{model}" for verb in verbs])
        granted |= of_model
    return granted


def role_of(user: User) -> Role | None:
    """The most powerful role of a user. One query."""
    names = set(user.groups.filter(name__in=Role.values).values_list("name", flat=True))
    return next((role for role in reversed(Role) if role.value in names), None)


@transaction.atomic
def assign_role(user: User, role: Role | None) -> None:
    """Give a user this role and no other one."""
    groups = Group.objects.filter(name__in=Role.values)
    user.groups.remove(*groups)
    if role is not None:
        user.groups.add(groups.get(name=role.value))


def has_any_permission(user: User | AnonymousUser) -> bool:
    """Whether there is anything here for this user. Two queries, kept for the request."""
    return user.is_active and (user.is_superuser or bool(user.get_all_permissions()))


def administrators() -> QuerySet[User]:
    """Who can sign in and put right what others did: active superusers and administrators."""
    is_administrator = Q(is_superuser=True) | Q(groups__name=Role.ADMINISTRATOR.value)
    return User.objects.filter(is_administrator, is_active=True, is_staff=True).distinct()
