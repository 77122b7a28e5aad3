"""The form of the Settings page.

Laws of this module: what is valid is decided by `site_settings.services.apply_values`; the password is never rendered,
and a form with errors carries it on, sealed.
"""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.models import fields_for_model, model_to_dict
from django.http import QueryDict
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
    UnfoldBooleanWidget,
)

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.site_settings.models import SiteSettings
from aegis_site.kernel.site_settings.services import apply_values, current_settings
from upstream_tls.form_fields import PEM_ATTRIBUTES, CertificateTextarea, ListField
from upstream_tls.kept_key import open_key, seal_key

_SUBJECT = "site settings, SMTP password"

_WIDGETS: dict[str, forms.Widget | type[forms.Widget]] = {
    "site_name": UnfoldAdminTextInputWidget(),
    "public_url": UnfoldAdminTextInputWidget(),
    "smtp_enabled": UnfoldBooleanSwitchWidget(),
    "smtp_host": UnfoldAdminTextInputWidget({"spellcheck": "false"}),
    "smtp_port": UnfoldAdminIntegerFieldWidget(),
    "smtp_security": UnfoldAdminSelectWidget(),
    "smtp_username": UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
    "smtp_from_address": UnfoldAdminTextInputWidget({"spellcheck": "false"}),
    "smtp_ca_certificate": CertificateTextarea(PEM_ATTRIBUTES),
    "smtp_timeout_s": UnfoldAdminIntegerFieldWidget(),
    "host_preserve_host": UnfoldBooleanSwitchWidget(),
    "host_websockets": UnfoldBooleanSwitchWidget(),
    "host_access_log": UnfoldBooleanSwitchWidget(),
    "host_load_balancing": UnfoldAdminSelectWidget(),
    "host_min_version": UnfoldAdminSelectWidget(),
    "host_max_version": UnfoldAdminSelectWidget(),
    "second_factor_for": UnfoldAdminSelectWidget(),
    "audit_retention_days": UnfoldAdminIntegerFieldWidget(),
}

# The cards of the page, and the fields of each in their order.
CARDS: list[tuple[str, str, Sequence[str]]] = [
    ("Installation", "", ["site_name", "public_url"]),
    (
        "Mail",
        "How Aegis sends mail, and to whom.",
        [
            "smtp_enabled",
            "smtp_host",
            "smtp_port",
            "smtp_security",
            "smtp_username",
            "smtp_password",
            "kept_smtp_password",
            "clear_smtp_password",
            "smtp_from_address",
            "smtp_timeout_s",
            "smtp_ca_certificate",
            "recipients",
        ],
    ),
    (
        "Defaults for new hosts",
        "What the form for a new host begins with. Hosts that exist stay as they are; the API has its own defaults.",
        [
            "host_min_version",
            "host_max_version",
            "host_load_balancing",
            "host_access_log",
            "host_websockets",
            "host_preserve_host",
        ],
    ),
    ("Sign-in", "", ["second_factor_for"]),
    ("Retention", "", ["audit_retention_days"]),
]


class SettingsForm(forms.Form):
    """All settings. After `is_valid()`, `candidate` has them, unsaved, and `values` is what to save."""

    smtp_password = forms.CharField(
        label="Password",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again.",
    )
    kept_smtp_password = forms.CharField(required=False, widget=forms.HiddenInput)
    clear_smtp_password = forms.BooleanField(
        label="Remove password", required=False, widget=UnfoldBooleanWidget, help_text="Forget the stored password."
    )
    recipients = ListField(
        label="Recipients",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false"}),
        help_text="Mail addresses that get the notifications, one per line or separated by commas.",
    )
    test_to = forms.CharField(
        label="Test mail to",
        required=False,
        widget=UnfoldAdminEmailInputWidget(),
        help_text="Goes out by the values above, saved or not, and saves nothing. It takes ten seconds at most.",
    )

    def __init__(self, data: QueryDict | None, *, user: Actor, may_change: bool) -> None:
        self.candidate = current_settings()
        self.values: dict[str, Any] = {}
        initial = model_to_dict(self.candidate, fields=list(_WIDGETS))
        initial["recipients"] = "\n".join(self.candidate.recipients)
        initial["test_to"] = getattr(user, "email", "")
        super().__init__(data, initial=initial)
        self._user_id = user.pk
        self.fields.update(fields_for_model(SiteSettings, list(_WIDGETS), widgets=_WIDGETS) or {})
        if self.candidate.has_smtp_password:
            self.fields["smtp_password"].help_text = "A password is stored. Enter another one to replace it."
        else:
            del self.fields["clear_smtp_password"]
        for field in self.fields.values():
            field.disabled = not may_change

    def cards(self) -> list[tuple[str, str, list[forms.BoundField]]]:
        """Title, introduction and fields of each card."""
        return [(title, text, [self[name] for name in names if name in self.fields]) for title, text, names in CARDS]

    def clean(self) -> None:
        super().clean()
        values = {name: self.cleaned_data[name] for name in _WIDGETS if name in self.cleaned_data}
        values["recipients"] = list(self.cleaned_data.get("recipients", ()))
        if (password := self._password()) is not None:
            values["smtp_password"] = password
        try:
            apply_values(self.candidate, values)
        except ValidationError as error:
            for name, problems in error.error_dict.items():
                self.add_error(None if name == NON_FIELD_ERRORS else name, problems)
        self.values = values
        self._keep(password or "")

    def _password(self) -> str | None:
        """That of this or of an earlier try, "" to clear the stored one, None to keep it."""
        if entered := self.cleaned_data.get("smtp_password"):
            return str(entered)
        if self.cleaned_data.get("clear_smtp_password"):
            return ""
        token = self.cleaned_data.get("kept_smtp_password")
        if not token:
            return None
        kept = open_key(token, user_id=self._user_id, subject=_SUBJECT)
        if kept is None:
            self.add_error("smtp_password", ValidationError("The kept password is lost: enter it again.", code="lost"))
        return kept

    def _keep(self, password: str) -> None:
        """Let the hidden field carry the password, in case that the form is shown again."""
        data = QueryDict(mutable=True)
        data.update(self.data)
        token = seal_key(password, user_id=self._user_id, subject=_SUBJECT) if password else ""
        data[self.add_prefix("kept_smtp_password")] = token
        self.data = data
        if password:
            text = "The password you entered is kept. Enter another one to replace it."
            # Both: the bound field copies the text when it is first looked at.
            self.fields["smtp_password"].help_text = self["smtp_password"].help_text = text
