"""The forms of channels and maintenance windows in the admin.

Laws of this module: what a value may be is decided by the services. Addresses and secrets are never rendered.
"""

import copy
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
)

from aegis_site.kernel.notifications.kinds import EventKind
from aegis_site.kernel.notifications.models import Channel, MaintenanceWindow
from aegis_site.kernel.notifications.services import COLUMNS, WINDOW_COLUMNS, apply_values, apply_window
from aegis_site.kernel.notifications.validators import MAX_SECRET_CHARACTERS, MAX_URL_CHARACTERS

_SECRETS = {"url": "new_url", "secret": "new_secret"}
_SECRET = {"autocomplete": "new-password", "spellcheck": "false"}


class _ServiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Has the service check a copy; the instance is changed by the service that saves it."""

    def check_values(self) -> None:
        """Raises ValidationError."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        try:
            self.check_values()
        except ValidationError as error:
            for name, problems in error.error_dict.items():
                field = _SECRETS.get(name, name)
                if field not in self.errors:
                    self.add_error(field if field in self.fields else None, problems)


class ChannelForm(_ServiceForm):
    """A channel. Empty address and secret of a stored one: they stay."""

    # Named otherwise than their columns, which no form may have.
    new_url = forms.CharField(
        label="URL",
        required=False,
        max_length=MAX_URL_CHARACTERS,
        widget=UnfoldAdminPasswordWidget(_SECRET),
        help_text="Where to send; for ntfy with the topic. Not for mail. Sealed, and not shown again.",
    )
    new_secret = forms.CharField(
        label="Secret",
        required=False,
        max_length=MAX_SECRET_CHARACTERS,
        widget=UnfoldAdminPasswordWidget(_SECRET),
        help_text="Webhook: whsec_ and the base64 of 24 to 64 random bytes. ntfy: the access token, if it needs one.",
    )
    clear_secret = forms.BooleanField(required=False, help_text="ntfy: send without a token.")
    recipients = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Mail: one address a line. Empty: the recipients of the site settings.",
    )
    events = forms.MultipleChoiceField(
        choices=EventKind.choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None chosen: all.",
    )

    class Meta:
        model = Channel
        fields = COLUMNS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["recipients"] = "\n".join(self.instance.recipients)
        if not self.instance._state.adding and "kind" in self.fields:
            self.fields["kind"].disabled = True

    def clean_recipients(self) -> list[str]:
        return [line for line in self.cleaned_data["recipients"].splitlines() if line.strip()]

    @property
    def values(self) -> dict[str, Any]:
        """As the service takes them."""
        values = {name: self.cleaned_data[name] for name in COLUMNS if name in self.cleaned_data}
        values |= {column: self.cleaned_data[name] for column, name in _SECRETS.items() if self.cleaned_data.get(name)}
        if self.cleaned_data.get("clear_secret") and "secret" not in values:
            values["secret"] = ""
        return values

    def check_values(self) -> None:
        apply_values(copy.copy(self.instance), self.values)


class MaintenanceWindowForm(_ServiceForm):
    """A maintenance window."""

    class Meta:
        model = MaintenanceWindow
        fields = (*WINDOW_COLUMNS, "hosts")

    @property
    def values(self) -> dict[str, Any]:
        """As the service takes them."""
        return {name: self.cleaned_data[name] for name in self.Meta.fields if name in self.cleaned_data}

    def check_values(self) -> None:
        hosts: Iterable[Any] = self.cleaned_data.get("hosts", ())
        apply_window(copy.copy(self.instance), self.values, hosts=list(hosts))
