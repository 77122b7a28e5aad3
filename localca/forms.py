"""The forms by which an administrator issues, renews and revokes certificates.

Laws of this module: what a certificate may say is decided by the services. A passphrase is never rendered.
"""

from typing import Any

from django import forms
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from localca import profiles
from localca.keys import KeyType
from localca.models import Purpose, RevocationReason
from localca.orders import VALIDITY_DAYS_MAX, Order
from localca.signing_requests import MAX_REQUEST_BYTES
from localca.validators import COMMON_NAME_MAX_CHARACTERS

ZIP, PKCS12 = "zip", "pkcs12"

_PEM_ATTRIBUTES = {
    "rows": 6,
    "spellcheck": "false",
    "autocomplete": "off",
    "placeholder": "-----BEGIN CERTIFICATE REQUEST-----",
    "style": "font-family: ui-monospace, monospace; font-size: 12px",
}


class KeyFields(forms.Form):
    """For whom the certificate is, and how its key is handed over."""

    csr = forms.CharField(
        label="Signing request",
        required=False,
        max_length=MAX_REQUEST_BYTES,
        widget=UnfoldAdminTextareaWidget(_PEM_ATTRIBUTES),
        help_text="Empty: Aegis makes the key and hands it over once. Otherwise this request's key is certified.",
    )
    form = forms.ChoiceField(
        label="Download as",
        choices=[(ZIP, "Zip of PEM files: certificate, key, CA"), (PKCS12, "PKCS#12 (.p12): needs a passphrase")],
        initial=ZIP,
        widget=UnfoldAdminSelectWidget,
    )
    passphrase = forms.CharField(
        required=False,
        strip=False,
        min_length=8,
        max_length=128,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text="Encrypts the private key in the download. Empty: it is not encrypted.",
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("form") == PKCS12 and not values.get("csr") and not values.get("passphrase"):
            self.add_error("passphrase", forms.ValidationError("A PKCS#12 file needs a passphrase.", code="required"))
        return values


class IssueForm(KeyFields):
    """What to certify."""

    purpose = forms.ChoiceField(
        choices=Purpose.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="A client certificate is presented to a server, a server certificate to its clients.",
    )
    common_name = forms.CharField(
        required=False, max_length=COMMON_NAME_MAX_CHARACTERS, widget=UnfoldAdminTextInputWidget
    )
    subject_alt_names = forms.CharField(
        label="Subject alternative names",
        required=False,
        max_length=200_000,
        widget=UnfoldAdminTextareaWidget({"rows": 3, "placeholder": "DNS:orders.internal\nIP:10.0.0.7"}),
        help_text="One a line: DNS:name, IP:address, for clients also URI:uri. A server needs one.",
    )
    validity_days = forms.IntegerField(
        label="Valid for days",
        required=False,
        min_value=1,
        max_value=VALIDITY_DAYS_MAX,
        widget=UnfoldAdminIntegerFieldWidget({"placeholder": profiles.LEAF_VALIDITY.days}),
    )
    key_type = forms.ChoiceField(
        choices=[(kind.value, kind.value) for kind in KeyType], initial=KeyType.EC_P256, widget=UnfoldAdminSelectWidget
    )
    issued_for = forms.CharField(
        label="Note", required=False, max_length=255, widget=UnfoldAdminTextInputWidget, help_text="For whom or what."
    )
    names_from_csr = forms.BooleanField(
        label="Names from the signing request",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Where common name or alternative names are empty above. Otherwise only its key counts.",
    )

    field_order = [
        "purpose",
        "common_name",
        "subject_alt_names",
        "validity_days",
        "key_type",
        "issued_for",
        "csr",
        "names_from_csr",
        "form",
        "passphrase",
    ]

    def order(self) -> Order:
        """What was asked for, after `is_valid()`."""
        values = self.cleaned_data
        return Order(
            purpose=Purpose(values["purpose"]),
            common_name=values["common_name"],
            subject_alt_names=tuple(filter(None, map(str.strip, values["subject_alt_names"].splitlines()))),
            validity_days=values["validity_days"],
            key_type=KeyType(values["key_type"]),
            issued_for=values["issued_for"],
            csr=values["csr"],
            names_from_csr=values["names_from_csr"],
        )


class RenewForm(KeyFields):
    """Who gets the successor's key, and what becomes of the old certificate."""

    revoke_old = forms.BooleanField(
        label="Revoke the old certificate",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="At once. Otherwise both are valid, so that the new one can be rolled out first.",
    )


class RevokeForm(BaseDialogForm):
    """Why."""

    reason = forms.ChoiceField(
        choices=[("", "Choose a reason"), *RevocationReason.choices], widget=UnfoldAdminSelectWidget
    )
