"""The HTTPS section of the host editor.

Laws of this module: as in `upstream_tls.forms`: the key is write-only, a form with errors loses nothing, and what is
valid is decided by `hosts.downstream_tls` alone.
"""

from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldBooleanSwitchWidget

from hosts.downstream_tls import apply_downstream_tls, check_issuable
from hosts.models import DownstreamTLSConfiguration
from hosts.specs import DownstreamTLSChanges
from upstream_tls.changes import KEEP, Keep
from upstream_tls.form_fields import (
    PEM_ATTRIBUTES,
    CertificateTextarea,
    certificate_file_field,
    key_field,
    key_file_field,
    key_passphrase_field,
)
from upstream_tls.forms import UpstreamTLSFields, pkcs12_in

_FORM_NAMES = {
    "certificate": "https_certificate",
    "key": "https_key",
    "pkcs12": "https_certificate_file",
    "issue": "https_certificate",
}


class DownstreamTLSFields(UpstreamTLSFields):
    """Fields to be mixed into the form of a host, whose upstream TLS is in it as well.

    `downstream` is what to save after `is_valid()`. `is_issuing_server` is set by the admin: certificate and key come
    from the local CA right after.
    """

    is_issuing_server = False

    https_certificate = forms.CharField(
        label="Certificate",
        required=False,
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM: the leaf and its intermediates, shown to clients that ask for one of the domains. Empty: a "
        "certificate of the worker's own making, which browsers warn of.",
    )
    https_certificate_file = certificate_file_field()
    https_key = key_field("Private key")
    https_key_file = key_file_field()
    https_key_passphrase = key_passphrase_field()
    kept_https_key = forms.CharField(label="Private key", required=False, widget=forms.HiddenInput)
    force_https = forms.BooleanField(
        label="Force HTTPS",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Answer plain HTTP with a redirect (308) to HTTPS.",
    )
    hsts_max_age_s = forms.IntegerField(
        label="HSTS max-age",
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Seconds for which browsers refuse plain HTTP after a visit (Strict-Transport-Security). 0: not "
        "sent. Begin with a few minutes; it cannot be taken back.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Fetched anew: a refused form must not leave its values on the instance that the page shows.
        stored = DownstreamTLSConfiguration.objects.filter(host_id=self.instance.pk).first()
        self.downstream = stored or DownstreamTLSConfiguration(host_id=self.instance.pk)
        self.fields["https_certificate"].initial = self.downstream.certificate
        self.fields["force_https"].initial = self.downstream.force_https
        self.fields["hsts_max_age_s"].initial = self.downstream.hsts_max_age_s
        if self.downstream.has_key:
            self._explain_key("https_key", "A key is stored", self.downstream.key_spki_sha256)

    def clean_downstream_tls(self) -> None:
        """To be called by `clean()`."""
        changes = DownstreamTLSChanges(issue=True) if self.is_issuing_server else self._downstream_pair()
        try:
            if self.is_issuing_server:
                check_issuable(self.cleaned_data.get("domains", ()))
            apply_downstream_tls(self.downstream, self._with_flags(changes))
        except ValidationError as error:
            problems = error.error_dict if hasattr(error, "error_dict") else {"certificate": error.error_list}
            for name, found in problems.items():
                self.add_error(None if name == NON_FIELD_ERRORS else _FORM_NAMES.get(name, name), found)
        self._keep_https_key()
        if changes.certificate is not KEEP and "https_certificate" not in self.errors:
            self._show("https_certificate", self.downstream.certificate)

    def _with_flags(self, changes: DownstreamTLSChanges) -> DownstreamTLSChanges:
        return DownstreamTLSChanges(
            certificate=changes.certificate,
            key=changes.key,
            pkcs12=changes.pkcs12,
            key_passphrase=changes.key_passphrase,
            issue=changes.issue,
            force_https=self.cleaned_data.get("force_https", False),
            hsts_max_age_s=self.cleaned_data.get("hsts_max_age_s") or 0,
        )

    def _downstream_pair(self) -> DownstreamTLSChanges:
        """Certificate and key from whichever of the fields has them; a file goes before a text."""
        passphrase = self.cleaned_data.get("https_key_passphrase", "")
        certificate = self.cleaned_data.get("https_certificate_file") or ""
        pasted = self.cleaned_data.get("https_key_file") or self.cleaned_data.get("https_key", "")
        for text in (certificate, pasted):
            if (content := pkcs12_in(text)) is not None:
                return DownstreamTLSChanges(pkcs12=content, key_passphrase=passphrase)
        is_sent = self.add_prefix("https_certificate") in self.data
        return DownstreamTLSChanges(
            certificate=certificate or (self.cleaned_data.get("https_certificate", "") if is_sent else KEEP),
            key=pasted or self._kept_https_key(),
            key_passphrase=passphrase,
        )

    def _kept_https_key(self) -> str | Keep:
        """The key of an earlier try, or KEEP."""
        token: str = self.cleaned_data.get("kept_https_key", "")
        return self._kept_key("https_key", token, self._https_subject()) if token else KEEP

    def _keep_https_key(self) -> None:
        """Let the form carry a key that was read just now, in case that it is shown again."""
        key = self.downstream.key
        is_new = key is not None and not key.blob
        pem = key.reveal().decode("ascii") if is_new else ""
        if pem or self.add_prefix("kept_https_key") in self.data:
            self._keep("kept_https_key", pem, self._https_subject())
        if is_new:
            self._explain_key("https_key", "The key you pasted is kept", self.downstream.key_spki_sha256)

    def _https_subject(self) -> str:
        return f"https of {self._subject()}"
