"""Form fields for what operators upload.

Laws of this module: no widget renders a private key; a file is looked at only after its size.
"""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from upstream_tls.tls.der import to_pem
from upstream_tls.tls.pem import MAX_PEM_BYTES

PEM_ATTRIBUTES = {
    "rows": 6,
    "spellcheck": "false",
    "autocomplete": "off",
    "style": "font-family: ui-monospace, monospace; font-size: 12px",
}


class CertificateTextarea(UnfoldAdminTextareaWidget):
    """Shows certificates, never a private key, and nothing of a text that is too long to be any."""

    def format_value(self, value: Any) -> str | None:
        text = super().format_value(value)
        return None if text is None or len(text) > MAX_PEM_BYTES or "PRIVATE KEY" in text else text


class WriteOnlyTextarea(UnfoldAdminTextareaWidget):
    """Takes a text and never shows one."""

    def format_value(self, value: Any) -> str | None:
        return None


class UploadField(forms.FileField):
    """An uploaded file as PEM text, whatever it was; None when no file was chosen."""

    widget = UnfoldAdminFileFieldWidget

    def to_python(self, data: Any) -> Any:
        upload = super().to_python(data)
        if upload is None:
            return None
        if upload.size > MAX_PEM_BYTES:
            raise ValidationError(f"The file is larger than {MAX_PEM_BYTES // 1024} KiB.", code="bad_pem")
        return to_pem(upload.read()).decode("utf-8", "replace")


# The fields of an upload of certificate and key, whichever side presents the pair.


def certificate_file_field() -> UploadField:
    """The certificate, or with a PKCS#12 file the key as well."""
    return UploadField(
        label="Certificate file",
        required=False,
        help_text="Instead of the text: PEM, DER, PKCS#7 (.p7b), or PKCS#12 (.p12, .pfx) with certificate and key.",
    )


def key_field(label: str) -> forms.CharField:
    """The private key as a text."""
    return forms.CharField(
        label=label,
        required=False,
        widget=WriteOnlyTextarea(PEM_ATTRIBUTES),
        help_text="PEM, PKCS#8, PKCS#1 or SEC 1. Stored encrypted and never shown again.",
    )


def key_file_field() -> UploadField:
    """The private key as a file."""
    return UploadField(
        label="Key file", required=False, help_text="Instead of the text: PEM or DER. It is not kept as a file."
    )


def key_passphrase_field() -> forms.CharField:
    """What opens the key."""
    return forms.CharField(
        label="Key passphrase",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text="Only for an encrypted key or PKCS#12 file: opens it now and is not stored.",
    )


class ListField(forms.CharField):
    """Values separated by commas or white space."""

    widget = UnfoldAdminTextInputWidget

    def to_python(self, value: Any) -> Any:
        return tuple(part for part in re.split(r"[\s,]+", super().to_python(value) or "") if part)
