"""The forms of the page "Client certificate" of a host. What may be certified is decided by the services."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from localca import profiles
from localca.keys import KeyType
from localca.orders import VALIDITY_DAYS_MAX
from localca.validators import COMMON_NAME_MAX_CHARACTERS
from upstream_tls.certificate_requests import ORGANIZATION_MAX_CHARACTERS, Wish
from upstream_tls.form_fields import PEM_ATTRIBUTES, CertificateTextarea, UploadField


def _key_type_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Key type",
        choices=[(kind.value, kind.value) for kind in KeyType],
        initial=KeyType.EC_P256,
        widget=UnfoldAdminSelectWidget,
    )


class IssueAndInstallForm(forms.Form):
    """What the local CA is to issue for a host."""

    prefix = "issue"
    key_type = _key_type_field()
    validity_days = forms.IntegerField(
        label="Valid for days",
        required=False,
        min_value=1,
        max_value=VALIDITY_DAYS_MAX,
        widget=UnfoldAdminIntegerFieldWidget({"placeholder": profiles.LEAF_VALIDITY.days}),
        help_text=f"At most {VALIDITY_DAYS_MAX}. Empty: {profiles.LEAF_VALIDITY.days}.",
    )


class RequestForm(forms.Form):
    """What another CA is to be asked for."""

    prefix = "request"
    common_name = forms.CharField(max_length=COMMON_NAME_MAX_CHARACTERS, widget=UnfoldAdminTextInputWidget)
    subject_alt_names = forms.CharField(
        label="Subject alternative names",
        required=False,
        max_length=200_000,
        widget=UnfoldAdminTextareaWidget({"rows": 3, "placeholder": "DNS:orders.internal\nIP:10.0.0.7"}),
        help_text="One a line: DNS:name, IP:address, URI:uri. Empty: the common name, when that is a DNS name.",
    )
    organization = forms.CharField(
        required=False, max_length=ORGANIZATION_MAX_CHARACTERS, widget=UnfoldAdminTextInputWidget
    )
    organizational_unit = forms.CharField(
        label="Organizational unit",
        required=False,
        max_length=ORGANIZATION_MAX_CHARACTERS,
        widget=UnfoldAdminTextInputWidget,
    )
    country = forms.CharField(
        required=False, max_length=2, widget=UnfoldAdminTextInputWidget, help_text="Two letters, such as DE."
    )
    key_type = _key_type_field()

    def wish(self) -> Wish:
        """What was asked for, after `is_valid()`."""
        values = self.cleaned_data
        return Wish(
            common_name=values["common_name"],
            subject_alt_names=tuple(filter(None, map(str.strip, values["subject_alt_names"].splitlines()))) or None,
            organization=values["organization"],
            organizational_unit=values["organizational_unit"],
            country=values["country"],
            key_type=KeyType(values["key_type"]),
        )


class SignedCertificateForm(forms.Form):
    """What the CA answered, as a text or a file."""

    certificate = forms.CharField(
        label="Signed certificate",
        required=False,
        widget=CertificateTextarea({**PEM_ATTRIBUTES, "placeholder": "-----BEGIN CERTIFICATE-----"}),
        help_text="PEM: the certificate and its intermediates. Order is put right, and a root is left out.",
    )
    certificate_file = UploadField(
        label="Certificate file", required=False, help_text="Instead of the text: PEM, DER or PKCS#7 (.p7b)."
    )
    in_steps = forms.BooleanField(
        label="Rotate in steps",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=(
            "Tried on every upstream first, put in use when all admit it, and taken back when one refuses it then."
        ),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        text, file = values.get("certificate", ""), values.get("certificate_file")
        if text and file:
            self.add_error("certificate_file", ValidationError("Either the text or a file.", code="conflict"))
        elif not text and not file and not self.errors:
            self.add_error("certificate", ValidationError("Paste the certificate or choose its file.", code="required"))
        return values

    def chain_pem(self) -> str:
        """What was pasted or uploaded, after `is_valid()`."""
        return str(self.cleaned_data["certificate"] or self.cleaned_data["certificate_file"])
