"""Users, groups, passwords, sign-ins and sign-outs in the audit log.

Laws of this module: Django's signals see every way to change an account, its own commands and pages included; they only
observe. Of a password it is said that it was changed, never what it is, nor its hash. A failed sign-in is recorded by
name only, and so many in a minute that nobody fills the database by trying. What is no user's name is not recorded: it
may be a password, typed into the wrong field.
"""

import datetime
import logging
from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.origin import current_source
from aegis_site.kernel.audit.recording import USER_TYPE, Described, Kind, Recording, open_recording
from aegis_site.kernel.audit.services import record, storable
from aegis_site.kernel.masking import masked

logger = logging.getLogger(__name__)

SIGN_IN_FAILED = "sign_in_failed"
# The password was right, the code was not: somebody else may know it.
CODE_REFUSED = "sign_in_code_refused"
# In the credentials of a failed sign-in: which of the two it was.
FAILED_ACTION = "aegis_failed_action"
FAILED_SIGN_INS_PER_MINUTE = 60

_USER_COLUMNS = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")

# Where a recording waits on its instance between the signals before and after a change.
_WAITING = "_audit_recording"


def _read_users(ids: Collection[Any]) -> dict[Any, Described]:
    users: QuerySet[User] = get_user_model().objects.filter(pk__in=ids)
    return {
        user.pk: Described(name=user.username, document=_user_document(user))
        for user in users.prefetch_related("groups", "user_permissions__content_type")
    }


def _user_document(user: User) -> dict[str, Any]:
    return {
        **{name: getattr(user, name) for name in _USER_COLUMNS},
        "password": masked(user.password),
        "groups": sorted(group.name for group in user.groups.all()),
        "permissions": _names(user.user_permissions.all()),
    }


def _read_groups(ids: Collection[Any]) -> dict[Any, Described]:
    groups = Group.objects.filter(pk__in=ids).prefetch_related("permissions__content_type")
    return {
        group.pk: Described(
            name=group.name, document={"name": group.name, "permissions": _names(group.permissions.all())}
        )
        for group in groups
    }


def _names(permissions: "QuerySet[Permission]") -> list[str]:
    return sorted(f"{permission.content_type.app_label}.{permission.codename}" for permission in permissions)


USERS = Kind(target_type=USER_TYPE, read=_read_users)
GROUPS = Kind(target_type="group", read=_read_groups)

_KINDS: dict[type[Model], Kind] = {User: USERS, Group: GROUPS}
# The tables between, with the name by which the one side knows the other.
_LINKS: dict[type[Model], str] = {
    User.groups.through: "groups",
    User.user_permissions.through: "user_permissions",
    Group.permissions.through: "permissions",
}


def observe() -> None:
    """Connect the receivers; to be called once, when the apps are ready."""
    for model in _KINDS:
        pre_save.connect(_before_save, sender=model, dispatch_uid="aegis.audit")
        post_save.connect(_after_save, sender=model, dispatch_uid="aegis.audit")
        pre_delete.connect(_before_delete, sender=model, dispatch_uid="aegis.audit")
        post_delete.connect(_after_change, sender=model, dispatch_uid="aegis.audit")
    for through in _LINKS:
        m2m_changed.connect(_link_changed, sender=through, dispatch_uid="aegis.audit")
    user_logged_in.connect(_signed_in, dispatch_uid="aegis.audit")
    user_logged_out.connect(_signed_out, dispatch_uid="aegis.audit")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="aegis.audit")


def _remember(instance: Model, kind: Kind, ids: Collection[Any]) -> None:
    actor = current_source().actor()
    recording = open_recording()
    if recording is None:
        recording = Recording(user=actor)
        setattr(instance, _WAITING, recording)
    recording.act_for(actor)
    recording.remember(kind, ids)


def _before_save(*, sender: type[Model], instance: Model, raw: bool, update_fields: Any, **_: Any) -> None:
    if not raw and not instance._state.adding and not _is_bookkeeping(instance, update_fields):
        _remember(instance, _KINDS[sender], [instance.pk])


def _is_bookkeeping(instance: Model, update_fields: Collection[str] | None) -> bool:
    """Whether Django notes a sign-in, or hashes the same password anew with today's parameters."""
    if not update_fields:
        return False
    is_rehash = set(update_fields) == {"password"} and getattr(instance, "_password", None) is None
    return is_rehash or set(update_fields) == {"last_login"}


def _after_save(*, sender: type[Model], instance: Model, created: bool, raw: bool, **_: Any) -> None:
    if created and not raw:
        _remember(instance, _KINDS[sender], [])
        recording = open_recording() or getattr(instance, _WAITING)
        recording.remember_new(_KINDS[sender], instance.pk)
    _after_change(instance=instance)


def _before_delete(*, sender: type[Model], instance: Model, **_: Any) -> None:
    _remember(instance, _KINDS[sender], [instance.pk])


def _after_change(*, instance: Model, **_: Any) -> None:
    recording: Recording | None = instance.__dict__.pop(_WAITING, None)
    if recording is not None:
        recording.write()


def _link_changed(
    *, sender: type[Model], instance: Model, action: str, reverse: bool, model: type[Model], pk_set: Any, **_: Any
) -> None:
    if action.startswith("post_"):
        _after_change(instance=instance)
    elif not reverse:
        _remember(instance, _KINDS[type(instance)], [instance.pk])
    else:
        # Seen from the other side, such as `group.user_set.add(user)`; None stands for all that are linked.
        linked = model._default_manager.filter(**{_LINKS[sender]: instance})
        ids = pk_set if pk_set is not None else set(linked.values_list("pk", flat=True))
        _remember(instance, _KINDS[model], ids)


def _signed_in(*, user: Actor, **_: Any) -> None:
    _record_of(user, "signed_in")


def _signed_out(*, user: Actor | None, **_: Any) -> None:
    if user is not None and user.pk is not None:
        _record_of(user, "signed_out")


def _record_of(user: Actor, action: str) -> None:
    record(user=user, action=action, target_type=USER_TYPE, target_id=user.pk, target_name=user.get_username())


def _sign_in_failed(*, credentials: dict[str, Any], **_: Any) -> None:
    minute = timezone.now() - datetime.timedelta(minutes=1)
    action = credentials.get(FAILED_ACTION, SIGN_IN_FAILED)
    lately = AuditEntry.objects.filter(action=action, at__gt=minute)
    if lately[:FAILED_SIGN_INS_PER_MINUTE].count() == FAILED_SIGN_INS_PER_MINUTE:
        logger.warning("more than %d failed sign-ins a minute: no audit entry", FAILED_SIGN_INS_PER_MINUTE)
        return
    name = recordable_name(str(credentials.get(get_user_model().USERNAME_FIELD, "")))
    record(user=None, action=action, target_type=USER_TYPE, target_id="", target_name=name)


def recordable_name(typed: str) -> str:
    """What may be kept of what was typed as a user's name: the name if there is such a user, else a mark of it.

    The mark is the same for the same text, so that attempts can be counted, and tells nothing of it without the key of
    this installation. One query, whether there is such a user or not.
    """
    name = storable(typed)
    is_known = get_user_model().objects.filter(**{get_user_model().USERNAME_FIELD: name}).exists()
    mark = masked(name)
    return name if is_known or not name else f"unknown user {mark}"
