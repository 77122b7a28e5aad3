"""The forms by which an administrator changes the CAs.

Laws of this module: what is possible is decided by the services, whose arguments the fields are named for. Neither a
key nor a passphrase is ever rendered.
"""

from django import forms
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from localca.authority_keys import PASSPHRASE_MAX_CHARACTERS, PASSPHRASE_MIN_CHARACTERS
from localca.authority_material import MAX_CHAIN_BYTES, MAX_KEY_BYTES
from localca.models import RevocationReason
from localca.validators import COMMON_NAME_MAX_CHARACTERS, CRL_URL_MAX_CHARACTERS

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


def _crl_url() -> forms.CharField:
    return forms.CharField(
        label="CRL distribution point",
        required=False,
        max_length=CRL_URL_MAX_CHARACTERS,
        widget=UnfoldAdminTextInputWidget({"placeholder": "http://aegis.example.com/api/v1/ca/authorities/…/crl"}),
        help_text=(
            "Where peers find its revocation list. Here that is /api/v1/ca/authorities/…/crl, with the id that stands "
            "in the address of the CA's page. Certificates that it issues from then on say it. Empty: they do not."
        ),
    )


class CrlUrlForm(forms.Form):
    """Where the list is."""

    crl_url = _crl_url()


class NewAuthorityForm(forms.Form):
    """A CA to be made."""

    common_name = forms.CharField(
        label="Name",
        required=False,
        max_length=COMMON_NAME_MAX_CHARACTERS,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: it is named for its number.",
    )
    crl_url = _crl_url()


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


class ImportAuthorityForm(KeyForm):
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
    crl_url = _crl_url()

    field_order = ["certificate", "root_certificate", "private_key", "passphrase", "crl_url"]


class ExportKeyForm(forms.Form):
    """What encrypts the file, twice: what was mistyped opens nothing."""

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


class RetireForm(forms.Form):
    """Nothing but the decision."""


class RevokeAuthorityForm(forms.Form):
    """Why."""

    reason = forms.ChoiceField(
        choices=[("", "Choose a reason"), *RevocationReason.choices], widget=UnfoldAdminSelectWidget
    )
