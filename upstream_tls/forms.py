"""The Upstream TLS section of the host editor.

Laws of this module:
- The client key is write-only: no widget renders it, nor a certificate field into which a key was pasted by mistake.
- What is valid is decided by `upstream_tls.services.apply_changes` alone.
"""

from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import QueryDict
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
    UnfoldBooleanWidget,
)

from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges
from upstream_tls.kept_key import open_key, seal_key
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import apply_changes, read_key
from upstream_tls.tls.credentials import key_spki_sha256, key_to_pem

# An encrypted key that lacks its passphrase is as worth keeping as one that opens.
_KEPT_CODES = {"key_encrypted", "key_wrong_passphrase"}

_FORM_NAMES = {"enabled": "tls_enabled"}

_PEM_ATTRIBUTES = {
    "rows": 6,
    "spellcheck": "false",
    "autocomplete": "off",
    "style": "font-family: ui-monospace, monospace; font-size: 12px",
}


class CertificateTextarea(UnfoldAdminTextareaWidget):
    """Shows certificates, never a private key."""

    def format_value(self, value: Any) -> str | None:
        return None if "PRIVATE KEY" in str(value) else super().format_value(value)


class WriteOnlyTextarea(UnfoldAdminTextareaWidget):
    """Takes a text and never shows one."""

    def format_value(self, value: Any) -> str | None:
        return None


class UpstreamTLSFields(forms.ModelForm):  # type: ignore[type-arg]
    """Fields to be mixed into the form of the object that owns the configuration.

    `configuration` is what to save after `is_valid()`. `user_id` is set by the admin.
    """

    user_id: object = None

    tls_enabled = forms.BooleanField(
        label="Enable mTLS",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Present the client certificate to every https upstream of this host.",
    )
    client_certificate = forms.CharField(
        label="Client Certificate",
        required=False,
        widget=CertificateTextarea(_PEM_ATTRIBUTES),
        help_text="PEM. The leaf first, then intermediates.",
    )
    client_key = forms.CharField(
        label="Client Key",
        required=False,
        widget=WriteOnlyTextarea(_PEM_ATTRIBUTES),
        help_text="PEM, PKCS#8, PKCS#1 or SEC 1. Stored encrypted and never shown again.",
    )
    client_key_passphrase = forms.CharField(
        label="Key passphrase",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text="Only for an encrypted key: opens it now and is not stored.",
    )
    kept_client_key = forms.CharField(label="Client Key", required=False, widget=forms.HiddenInput)
    clear_client_key = forms.BooleanField(
        label="Remove Client Key",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Forget the stored key when saving.",
    )
    ca_certificate = forms.CharField(
        label="CA Certificate",
        required=False,
        widget=CertificateTextarea(_PEM_ATTRIBUTES),
        help_text="PEM. Verifies the upstream's certificate. Empty: the system trust store.",
    )
    skip_verify = forms.BooleanField(
        label="Skip TLS Verification",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Accept any certificate of the upstream. For development: whoever sits in between can read along.",
    )
    server_name = forms.CharField(
        label="Server Name Override",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The name sent as SNI and looked for in the upstream's certificate. Empty: the upstream's address.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration = UpstreamTLSConfiguration(host_id=self.instance.pk)
        if not self.instance._state.adding:
            # Fetched anew: a refused form must not leave its values on the instance that the page shows.
            self.configuration = (
                UpstreamTLSConfiguration.objects.filter(host=self.instance).first() or self.configuration
            )
        for name in ("client_certificate", "ca_certificate", "skip_verify", "server_name"):
            self.fields[name].initial = getattr(self.configuration, name)
        self.fields["tls_enabled"].initial = self.configuration.enabled
        if self.configuration.has_client_key:
            self._explain_key("A key is stored", self.configuration.client_key_spki_sha256)
        else:
            del self.fields["clear_client_key"]

    def clean_upstream_tls(self, *, will_be_issued: bool) -> None:
        """To be called by `clean()`. `will_be_issued`: certificate and key come from the local CA right after."""
        pem = self._client_key()
        changes = UpstreamTLSChanges(
            enabled=KEEP if will_be_issued else self.cleaned_data["tls_enabled"],
            client_certificate=KEEP if will_be_issued else self.cleaned_data.get("client_certificate", ""),
            client_key=KEEP if will_be_issued else pem,
            client_key_passphrase=self.cleaned_data.get("client_key_passphrase", ""),
            ca_certificate=self.cleaned_data.get("ca_certificate", ""),
            skip_verify=self.cleaned_data["skip_verify"],
            server_name=self.cleaned_data.get("server_name", ""),
        )
        try:
            apply_changes(self.configuration, changes)
        except ValidationError as error:
            for name, problems in error.error_dict.items():
                self.add_error(None if name == NON_FIELD_ERRORS else _FORM_NAMES.get(name, name), problems)

    def _client_key(self) -> str | Keep:
        """The key that was pasted now or in an earlier try, "" to clear the stored one, or KEEP."""
        pasted: str = self.cleaned_data.get("client_key", "")
        token: str = self.cleaned_data.get("kept_client_key", "")
        self._keep("")
        if not pasted and self.cleaned_data.get("clear_client_key"):
            return ""
        if not pasted and token:
            pasted = open_key(token, user_id=self.user_id, subject=self._subject()) or ""
            if not pasted:
                self.add_error("client_key", ValidationError("The kept key is lost: paste it again.", code="lost"))
        if not pasted:
            return KEEP
        self._keep_if_worth(pasted)
        return pasted

    def _keep_if_worth(self, pem: str) -> None:
        try:
            key = read_key(pem, self.cleaned_data.get("client_key_passphrase", ""))
        except ValidationError as error:
            if error.code in _KEPT_CODES:
                self._keep(pem)
                self._explain_key("The key you pasted is kept", "")
            return
        self._keep(key_to_pem(key).decode("ascii"))
        self._explain_key("The key you pasted is kept", key_spki_sha256(key))

    def _keep(self, pem: str) -> None:
        """Let the hidden field of this bound form carry the key, sealed, if the form is shown again."""
        token = seal_key(pem, user_id=self.user_id, subject=self._subject()) if pem else ""
        data = QueryDict(mutable=True)
        data.update(self.data)
        data[self.add_prefix("kept_client_key")] = token
        self.data = data

    def _subject(self) -> str:
        return "new" if self.instance._state.adding else str(self.instance.pk)

    def _explain_key(self, what: str, spki_sha256: str) -> None:
        fingerprint = format_html(" (public key SHA-256 <code>{}</code>)", spki_sha256) if spki_sha256 else ""
        text = format_html("{}{}. Paste another one to replace it; it is never shown.", what, fingerprint)
        # Both: the bound field copies the text when it is first looked at.
        self.fields["client_key"].help_text = self["client_key"].help_text = text
