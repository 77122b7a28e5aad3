"""Admin pages of users, groups and API tokens.

Laws of this module: a new token is shown on the page that answers the POST which made it, and nowhere else: in no
message, cookie, session or address. Only superusers touch superusers.
"""

from collections.abc import Iterable
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm

from aegis_site.access import second_factor
from aegis_site.access.account_pages import may_touch
from aegis_site.access.forms import LAST_ADMINISTRATOR, ApiTokenForm, UserAddForm, UserForm
from aegis_site.access.locks import unlock_user, with_locks
from aegis_site.access.models import ApiToken, SecondFactor
from aegis_site.access.roles import Role, administrators
from aegis_site.access.services import record_created, revoke_token
from aegis_site.access.session_list import end_sessions
from aegis_site.kernel.admin import action, display
from aegis_site.kernel.audit.accounts import GROUPS, USERS
from aegis_site.kernel.audit.audited_admin import AuditedAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    """Users, with a role each."""

    audit_type = USERS.target_type
    form = UserForm
    add_form = UserAddForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "role", "two_factor", "sign_in", "last_login")
    actions_detail = ("unlock", "reset_second_factor")
    list_filter = ("is_active", "is_superuser", "groups")
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        ("Personal info", {"fields": ("first_name", "last_name", "email"), "classes": ["collapse"]}),
        (
            "Beyond the role",
            {"fields": ("is_superuser", "is_staff", "groups", "user_permissions"), "classes": ["collapse"]},
        ),
        ("Dates", {"fields": ("last_login", "date_joined"), "classes": ["collapse"]}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "role", "usable_password", "password1", "password2")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        roles = Prefetch("groups", Group.objects.filter(name__in=Role.values), to_attr="roles")
        confirmed = SecondFactor.objects.filter(user=OuterRef("pk"), confirmed_at__isnull=False)
        users = super().get_queryset(request).prefetch_related(roles).annotate(has_second_factor=Exists(confirmed))
        return with_locks(cast("QuerySet[User]", users), now=timezone.now())

    @display(description="Two-factor", boolean=True)
    def two_factor(self, user: Any) -> bool:
        return bool(user.has_second_factor)

    @display(description="Sign-in", label={"Locked": "danger", "Active": "success", "Inactive": "warning"})
    def sign_in(self, user: Any) -> str:
        """Where a lock is ended: the page of locked sign-ins."""
        if not user.is_active:
            return "Inactive"
        return "Locked" if user.is_locked_out else "Active"

    @display(description="Role")
    def role(self, user: User) -> str:
        if user.is_superuser:
            return "Superuser"
        held = {group.name for group in getattr(user, "roles", ())}
        return next((role.value.capitalize() for role in reversed(Role) if role.value in held), "No role")

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        # Django's own page saves outside of a transaction: the password would change even without its entry.
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            user = self.get_object(request, id) if request.method == "POST" else None
            if user is not None and not user.has_usable_password():
                end_sessions(of=user, by=request.user)
            return response

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Without what this user has not."""
        user = self.get_object(request, str(object_id))
        if user is None or not self.has_change_permission(request, user):
            return []
        fitting = {"unlock": user.is_locked_out, "reset_second_factor": user.has_second_factor}
        actions = super().get_actions_detail(request, object_id)
        return [item for item in actions if fitting[item.action_name.removeprefix("auth_user_")]]

    @action(
        description="Unlock sign-in",
        permissions=["change"],
        icon="lock_open",
        url_path="unlock",
        dialog={
            "title": "Unlock the sign-in?",
            "description": "All failed sign-ins of this user are forgotten, from wherever they came.",
            "form_submit_text": "Unlock",
        },
    )
    def unlock(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """A POST from the dialog."""
        user = self._changeable(request, object_id)
        if unlock_user(user=user, by=request.user):
            self.message_user(request, f"The sign-in of {user} is unlocked.")
        else:
            self.message_user(request, f"{user} was not locked any more.", messages.INFO)
        return redirect("admin:auth_user_change", user.pk)

    @action(
        description="Reset two-factor",
        permissions=["change"],
        icon="phonelink_erase",
        url_path="reset-two-factor",
        dialog={
            "title": "Reset two-factor sign-in?",
            "description": "For a user who has lost the device and the recovery codes: the password alone signs in "
            "then. Make sure who asks for it. All sessions of the user end, and the next sign-in says so.",
            "form_submit_text": "Reset",
        },
    )
    def reset_second_factor(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """A POST from the dialog."""
        user = self._changeable(request, object_id)
        if second_factor.reset(user=user, by=request.user):
            self.message_user(request, f"Two-factor sign-in of {user} is reset, and all sessions have ended.")
        else:
            self.message_user(request, f"{user} has no two-factor sign-in.", messages.INFO)
        return redirect("admin:auth_user_change", user.pk)

    def _changeable(self, request: HttpRequest, object_id: str) -> User:
        user: User | None = self.get_object(request, object_id)
        if user is None:
            raise Http404("no such user")
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        return user

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        # The form has a field of that name; a page that only shows has the column.
        return () if request.user.is_superuser else ("is_superuser",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(super().has_change_permission(request, obj)) and may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and may_touch(request, obj)

    def get_deleted_objects(self, objs: Iterable[User], request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """Of the last administrators, the deletion is refused, by the list as by the user's own page."""
        going = list(objs)
        listed, counts, needed, protected = super().get_deleted_objects(going, request)
        if not administrators().exclude(pk__in=[user.pk for user in going]).exists():
            protected = [*protected, LAST_ADMINISTRATOR]
        return listed, counts, needed, protected


@admin.register(Group)
class GroupAdmin(AuditedAdmin, DjangoGroupAdmin):
    """Groups of permissions beside the roles. The roles' own groups are what the code says, and only shown."""

    audit_type = GROUPS.target_type

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(super().has_change_permission(request, obj)) and not _is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and not _is_role(obj)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in Role.values


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """A user's own tokens; those of others for who may manage them. A token is made or revoked, never changed."""

    form = ApiTokenForm
    list_display = ["name", "user", "scope", "state_label", "expiry", "last_used_at", "created"]
    list_filter = ["scope"]
    search_fields = ["name", "user__username"]
    list_per_page = 50
    list_select_related = ["user"]
    fields = ["name", "scope", "lifetime_days"]
    readonly_fields = ["state"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens: QuerySet[ApiToken] = super().get_queryset(request)
        if request.user.has_perm("access.manage_apitoken"):
            return tokens
        return tokens.filter(user_id=request.user.pk)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> list[str]:
        return self.fields if obj is None else ["name", "user", "scope", "state", "created", "expiry", "last_used_at"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @display(description="State")
    def state(self, token: ApiToken) -> str:
        if token.is_expired:
            return "Expired"
        return "Valid" if token.user.is_active else "User inactive"

    @display(description="State", label={"Valid": "success", "Expired": "warning", "User inactive": "warning"})
    def state_label(self, token: ApiToken) -> str:
        return self.state(token)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # The page with the token follows in any case.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        response: HttpResponse = super().add_view(request, form_url, {**buttons, **(extra_context or {})})
        return response

    def save_model(self, request: HttpRequest, obj: ApiToken, form: ApiTokenForm, change: bool) -> None:
        obj.user = cast("User", request.user)
        obj.save(force_insert=True)
        record_created(obj, by=request.user)

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """The page with the token."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "New API token", "token": obj}
        response = TemplateResponse(request, "access/token_created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        revoke_token(token=obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            revoke_token(token=token, user=request.user)
