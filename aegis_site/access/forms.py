"""Forms of users and tokens in the admin.

Laws of this module: somebody who can put things right always remains; what would take the last one away is refused at
the field that would do it.
"""

from typing import Any, cast

from django import forms
from django.contrib.auth.models import Group, User
from unfold.forms import UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from aegis_site.access.models import ApiToken
from aegis_site.access.roles import Role, administrators, assign_role, role_of
from aegis_site.access.services import DEFAULT_LIFETIME_DAYS, MAX_LIFETIME_DAYS, give_secret

LAST_ADMINISTRATOR = "Nobody else could administer Aegis then. Make another user an administrator first."


def role_field() -> forms.TypedChoiceField:
    """The choice of a role in words."""
    return forms.TypedChoiceField(
        choices=[("", "No role: may sign in and sees nothing"), *Role.choices],
        coerce=Role,
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )


class UserAddForm(UserCreationForm):
    """Name, password and role; who is added here may sign in to the admin."""

    role = role_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django's text is about single sign-on, which is not here.
        self.fields["usable_password"].help_text = "Disabled: for a user that only has API tokens."

    def save(self, commit: bool = True) -> User:
        self.instance.is_staff = True
        return cast("User", super().save(commit=commit))

    def _save_m2m(self) -> None:
        super()._save_m2m()
        assign_role(self.instance, self.cleaned_data["role"])


class UserForm(UserChangeForm):
    """A user with its role. The groups of the roles are not among the other groups."""

    role = role_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if role := cast("forms.TypedChoiceField | None", self.fields.get("role")):
            role.initial = role_of(self.instance)
            if self.instance.is_superuser:
                role.choices = [("", "No role: a superuser needs none"), *Role.choices]
        if groups := cast("forms.ModelMultipleChoiceField[Group] | None", self.fields.get("groups")):
            groups.queryset = Group.objects.exclude(name__in=Role.values)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        # Locked, so that two administrators cannot take the right from each other at the same moment.
        others = User.objects.select_for_update().filter(pk__in=administrators().values("pk"))
        present = {user.pk for user in others}
        if present == {self.instance.pk} and (field := self._field_that_ends_it(cleaned)):
            self.add_error(field, LAST_ADMINISTRATOR)
        return cleaned

    def _field_that_ends_it(self, cleaned: dict[str, Any]) -> str | None:
        """The field by which this user ends being an administrator."""
        for name in ("is_active", "is_staff"):
            if not cleaned.get(name, True):
                return name
        # Who may not change it has no such field.
        if cleaned.get("is_superuser", self.instance.is_superuser) or cleaned.get("role") is Role.ADMINISTRATOR:
            return None
        return "is_superuser" if self.instance.is_superuser else "role"

    def _save_m2m(self) -> None:
        super()._save_m2m()
        assign_role(self.instance, self.cleaned_data["role"])


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new token. Saved, its `secret` is the token itself."""

    lifetime_days = forms.IntegerField(
        label="Days until it expires",
        initial=DEFAULT_LIFETIME_DAYS,
        min_value=1,
        max_value=MAX_LIFETIME_DAYS,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        model = ApiToken
        fields = ["name", "scope"]

    def save(self, commit: bool = True) -> ApiToken:
        give_secret(self.instance, lifetime_days=self.cleaned_data["lifetime_days"])
        return cast("ApiToken", super().save(commit=commit))
