"""The forms by which an administrator changes the CAs.

Laws of this module: what is possible is decided by the services, whose arguments the fields are named for. Neither a
key nor a passphrase is ever rendered.
"""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from localca.authority_keys import PASSPHRASE_MAX_CHARACTERS, PASSPHRASE_MIN_CHARACTERS, KeyFormat
from localca.authority_material import MAX_CHAIN_BYTES, MAX_KEY_BYTES
from localca.given_lists import MAX_LIST_PEM_BYTES
from localca.models import RevocationReason
from localca.validators import AUTHORITY_ID_PLACEHOLDER, COMMON_NAME_MAX_CHARACTERS, CRL_URL_MAX_CHARACTERS

# What Django's error reports leave out, and what is not filled in again.
SECRETS = ("private_key", "passphrase", "passphrase_again")


class SecretTextarea(UnfoldAdminTextareaWidget):
    """For a private key: a form with errors comes back without it."""

    def __init__(self) -> None:
        super().__init__({**_pem("-----BEGIN PRIVATE KEY-----")})

    def format_value(self, value: object) -> str:
        return ""


def _pem(placeholder: str) -> dict[str, object]:
    return {
        "rows": 6,
        "spellcheck": "false",
        "autocomplete": "off",
        "placeholder": placeholder,
        "style": "font-family: ui-monospace, monospace; font-size: 12px",
    }


class CrlUrlForm(forms.Form):
    """Where the list is. `crl_place` is a URL of this installation to offer, such as with `{id}` for the CA's id."""

    crl_url = forms.CharField(
        label="CRL distribution point",
        required=False,
        max_length=CRL_URL_MAX_CHARACTERS,
        widget=UnfoldAdminTextInputWidget,
    )

    def __init__(self, *args: Any, crl_place: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["crl_url"]
        field.widget.attrs["placeholder"] = crl_place
        is_new = AUTHORITY_ID_PLACEHOLDER in crl_place
        meaning = f", with {AUTHORITY_ID_PLACEHOLDER} for its id" if is_new else ""
        field.help_text = (
            f"Where peers find its revocation list. At this address of Aegis that is {crl_place}{meaning}; it has "
            "to be one that upstreams reach. What the CA issues from then on says it. Empty: it does not."
        )


class NewAuthorityForm(CrlUrlForm):
    """A CA to be made."""

    common_name = forms.CharField(
        label="Name",
        required=False,
        max_length=COMMON_NAME_MAX_CHARACTERS,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: it is named for its number.",
    )

    field_order = ["common_name", "crl_url"]


class KeyForm(forms.Form):
    """A private key that comes in."""

    private_key = forms.CharField(
        label="Private key",
        max_length=MAX_KEY_BYTES,
        widget=SecretTextarea,
        help_text="PEM; P-256, P-384 or RSA with 2048 to 4096 bits. Stored encrypted and never shown again.",
    )
    passphrase = forms.CharField(
        required=False,
        strip=False,
        max_length=PASSPHRASE_MAX_CHARACTERS,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text="Opens an encrypted key now; it is not stored.",
    )


class ImportAuthorityForm(KeyForm, CrlUrlForm):
    """An organisation's own intermediate."""

    certificate = forms.CharField(
        label="Certificate chain",
        max_length=MAX_CHAIN_BYTES,
        widget=UnfoldAdminTextareaWidget(_pem("-----BEGIN CERTIFICATE-----")),
        help_text="PEM, in any order: the intermediate and what stands above it, with or without the root.",
    )
    root_certificate = forms.CharField(
        label="Root",
        required=False,
        max_length=MAX_CHAIN_BYTES,
        widget=UnfoldAdminTextareaWidget(_pem("-----BEGIN CERTIFICATE-----") | {"rows": 3}),
        help_text="When it is not in the chain. Upstreams get it in the trust bundle.",
    )

    field_order = ["certificate", "root_certificate", "private_key", "passphrase", "crl_url"]


class ExportKeyForm(forms.Form):
    """As what it leaves, and what encrypts the file, twice: what was mistyped opens nothing."""

    form = forms.ChoiceField(
        label="Download as",
        choices=KeyFormat.choices,
        initial=KeyFormat.PKCS12,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    passphrase = forms.CharField(
        strip=False,
        min_length=PASSPHRASE_MIN_CHARACTERS,
        max_length=PASSPHRASE_MAX_CHARACTERS,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text=f"At least {PASSPHRASE_MIN_CHARACTERS} characters. Nobody can recover it.",
    )
    passphrase_again = forms.CharField(
        label="Passphrase again",
        strip=False,
        max_length=PASSPHRASE_MAX_CHARACTERS,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
    )

    def clean_passphrase_again(self) -> str:
        again = str(self.cleaned_data["passphrase_again"])
        if "passphrase" in self.cleaned_data and again != self.cleaned_data["passphrase"]:
            raise forms.ValidationError("The two passphrases differ.", code="mismatch")
        return again


class RemoveKeyForm(forms.Form):
    """The CA's name, when its key was never exported."""

    confirmation = forms.CharField(
        label="Name of the CA",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="Only when the key was never exported: it cannot be had again.",
    )


class GiveListForm(forms.Form):
    """The list of a CA that was signed elsewhere, as a text or a file."""

    crl = forms.CharField(
        label="Revocation list",
        required=False,
        max_length=MAX_LIST_PEM_BYTES,
        widget=UnfoldAdminTextareaWidget(_pem("-----BEGIN X509 CRL-----")),
        help_text="PEM: the current and complete list of this CA.",
    )
    crl_file = forms.FileField(
        label="File", required=False, widget=UnfoldAdminFileFieldWidget, help_text="Instead of the text: DER or PEM."
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        text, file = values.get("crl"), values.get("crl_file")
        if text and file:
            self.add_error("crl_file", forms.ValidationError("Either the text or a file.", code="conflict"))
        elif not text and not file and not self.errors:
            message = "Paste the list or choose its file."
            self.add_error("crl", forms.ValidationError(message, code="required"))
        return values

    def content(self) -> str | bytes:
        """What was pasted or uploaded, after `is_valid()`."""
        upload = self.cleaned_data["crl_file"]
        # One byte more than allowed is enough to be told that it is too large.
        return upload.read(MAX_LIST_PEM_BYTES + 1) if upload else str(self.cleaned_data["crl"])


class RetireForm(forms.Form):
    """Nothing but the decision."""


class RevokeAuthorityForm(forms.Form):
    """Why."""

    reason = forms.ChoiceField(
        choices=[("", "Choose a reason"), *RevocationReason.choices], widget=UnfoldAdminSelectWidget
    )
