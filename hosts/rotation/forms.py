"""The form that begins a rotation: a certificate with its key, as text or as files.

Laws of this module: no widget renders a private key; what may be a candidate is decided by `hosts.rotation.services`.
"""

from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from unfold.widgets import UnfoldBooleanSwitchWidget

from upstream_tls.changes import KEEP, UpstreamTLSChanges
from upstream_tls.form_fields import (
    PEM_ATTRIBUTES,
    CertificateTextarea,
    certificate_file_field,
    key_field,
    key_file_field,
    key_passphrase_field,
)
from upstream_tls.forms import pkcs12_in

SECRET_PARAMETERS = ("client_certificate", "client_key", "client_key_passphrase")
_FORM_NAMES = {"client_pkcs12": "client_certificate_file"}


class RotationForm(forms.Form):
    """`pair` is what was uploaded, after `is_valid()`."""

    client_certificate = forms.CharField(
        label="New Client Certificate",
        required=False,
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM: the certificate, then its intermediates.",
    )
    client_certificate_file = certificate_file_field()
    client_key = key_field("New Client Key")
    client_key_file = key_file_field()
    client_key_passphrase = key_passphrase_field()
    is_manual = forms.BooleanField(
        label="Wait for a confirmation before it is put in use",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pair = UpstreamTLSChanges()

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return values
        certificate = values["client_certificate_file"] or values["client_certificate"]
        key = values["client_key_file"] or values["client_key"]
        passphrase = values["client_key_passphrase"]
        if not certificate.strip():
            message = "Paste the new certificate, or choose its file."
            self.add_error("client_certificate", ValidationError(message, code="required"))
        elif (content := pkcs12_in(certificate)) is not None:
            self.pair = UpstreamTLSChanges(client_pkcs12=content, client_key_passphrase=passphrase)
        else:
            # Without a key it is for the one that is stored.
            self.pair = UpstreamTLSChanges(
                client_certificate=certificate,
                client_key=key if key.strip() else KEEP,
                client_key_passphrase=passphrase,
            )
        return values

    def refuse(self, error: ValidationError) -> None:
        """Show the errors of the service at the fields that are meant."""
        fields = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
        for name, problems in fields.items():
            field = name.removeprefix("upstream_tls.")
            field = _FORM_NAMES.get(field, field)
            self.add_error(field if field in self.fields else None, problems)
