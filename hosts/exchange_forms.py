"""The forms of the page on which hosts are exported and imported."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.uploads import DOCUMENT_FIELD, MAX_DOCUMENT_BYTES
from hosts.exchange.importing import OnMissing
from hosts.exchange.reading import Format, read_document
from hosts.exchange.sealing import MAX_PASSPHRASE_CHARACTERS, MIN_PASSPHRASE_CHARACTERS


def _passphrase_field(help_text: str, **options: Any) -> forms.CharField:
    return forms.CharField(
        label="Passphrase",
        strip=False,
        max_length=MAX_PASSPHRASE_CHARACTERS,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text=help_text,
        **options,
    )


class SealedExportForm(forms.Form):
    """What the secrets of an export are sealed to."""

    prefix = "export"
    passphrase = _passphrase_field(
        f"At least {MIN_PASSPHRASE_CHARACTERS} characters. Aegis does not keep it: without it, nothing opens the keys.",
        min_length=MIN_PASSPHRASE_CHARACTERS,
    )


class ImportForm(forms.Form):
    """A document, and what becomes of hosts that it does not name."""

    hosts_document = forms.FileField(
        label="File",
        widget=UnfoldAdminFileFieldWidget,
        help_text=f"YAML or JSON (.json), at most {MAX_DOCUMENT_BYTES // 2**20} MiB. "
        "Larger ones are for manage.py import_hosts.",
    )
    passphrase = _passphrase_field("Only for sealed secrets: opens them and is not stored.", required=False)
    on_missing = forms.ChoiceField(
        label="Hosts that are not in the file",
        choices=[(OnMissing.KEEP.value, "Keep them"), (OnMissing.DELETE.value, "Delete them")],
        widget=UnfoldAdminSelectWidget,
    )

    def clean_hosts_document(self) -> Any:
        upload = self.cleaned_data[DOCUMENT_FIELD]
        if upload.size > MAX_DOCUMENT_BYTES:
            raise ValidationError(f"The file is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB.", code="too_large")
        try:
            return read_document(upload.read(), Format.of_file_name(upload.name))
        except AegisError as error:
            raise ValidationError(error.message, code=error.code) from error
