"""The Upstream TLS section of the host editor.

Laws of this module:
- The client key is write-only: no widget renders it, nor a certificate field into which a key was pasted by mistake.
- What is valid is decided by `upstream_tls.services.apply_changes` alone.
- A form with errors loses nothing: a file's certificates come back as text, a key comes back sealed.
"""

from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import QueryDict
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
    UnfoldBooleanWidget,
)

from upstream_tls.changes import KEEP, Keep, UpstreamTLSChanges
from upstream_tls.client_pair import KEY_IGNORED, KEY_TAKEN, separate_key
from upstream_tls.form_fields import (
    PEM_ATTRIBUTES,
    CertificateTextarea,
    ListField,
    UploadField,
    certificate_file_field,
    key_field,
    key_file_field,
    key_passphrase_field,
)
from upstream_tls.kept_key import open_key, seal_key
from upstream_tls.models import TLSVersion, UpstreamTLSConfiguration
from upstream_tls.services import apply_changes
from upstream_tls.tls.der import armoured, unarmoured

# A key or file that lacks its passphrase is as worth keeping as one that opens.
_KEPT_CODES = {"key_encrypted", "key_wrong_passphrase"}

_PKCS12_BEGIN = "-----BEGIN PKCS12-----"

_FORM_NAMES = {"enabled": "tls_enabled", "client_pkcs12": "client_certificate_file"}

_PLAIN_FIELDS = ("skip_verify", "server_name")
# Of an exception from verification; hidden, and worth nothing, while there is none.
_EXCEPTION_FIELDS = ("skip_verify_reason", "skip_verify_until")
_ADVANCED_FIELDS = (
    "verify_name",
    "min_version",
    "max_version",
    "ciphers",
    "alpn",
    "crl",
    "pinned_spki_sha256",
    "verify_depth",
)


class UpstreamTLSFields(forms.ModelForm):  # type: ignore[type-arg]
    """Fields to be mixed into the form of the object that owns the configuration.

    `configuration` is what to save after `is_valid()`, `notices` what was put right. The admin sets who the user is.
    """

    user_id: object = None
    user_name: str = ""

    tls_enabled = forms.BooleanField(
        label="Enable mTLS",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Present the client certificate to every https upstream of this host.",
    )
    client_certificate = forms.CharField(
        label="Client Certificate",
        required=False,
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM: the leaf and its intermediates. They are put in order, and a root is left out.",
    )
    client_certificate_file = certificate_file_field()
    client_key = key_field("Client Key")
    client_key_file = key_file_field()
    client_key_passphrase = key_passphrase_field()
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
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM. Verifies the upstream's certificate. Empty: the system trust store.",
    )
    ca_certificate_file = UploadField(
        label="CA file", required=False, help_text="Instead of the text: PEM, DER or PKCS#7 (.p7b)."
    )
    skip_verify = forms.BooleanField(
        label="Skip TLS Verification",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Accept any certificate of the upstream. For development: whoever sits in between can read along.",
    )
    skip_verify_reason = forms.CharField(
        label="Reason",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why the upstream's certificate cannot be verified, for whoever finds this exception.",
    )
    skip_verify_until = forms.DateTimeField(
        label="Until (UTC)",
        required=False,
        widget=forms.DateTimeInput(
            {**UnfoldAdminTextInputWidget().attrs, "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"
        ),
        help_text="Verification is on again from then, by itself. Empty: the exception has no end.",
    )
    server_name = forms.CharField(
        label="Server Name Override",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The name sent as SNI and looked for in the upstream's certificate. Empty: the upstream's address.",
    )
    verify_name = forms.CharField(
        label="Verify Name",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The name looked for in the upstream's certificate when it is not the server name: a DNS name, an IP "
        "address, or a SPIFFE ID such as spiffe://example.org/orders.",
    )
    min_version = forms.ChoiceField(
        label="Minimum TLS version", required=False, choices=TLSVersion.choices, widget=UnfoldAdminSelectWidget
    )
    max_version = forms.ChoiceField(
        label="Maximum TLS version", required=False, choices=TLSVersion.choices, widget=UnfoldAdminSelectWidget
    )
    ciphers = forms.CharField(
        label="TLS 1.2 cipher list",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="An OpenSSL cipher list such as ECDHE+AESGCM. Empty: OpenSSL's default. TLS 1.3 has its own suites.",
    )
    alpn = ListField(
        label="ALPN protocols",
        required=False,
        help_text="Separated by commas, the preferred first. Empty: none is offered.",
    )
    crl = forms.CharField(
        label="Certificate revocation lists",
        required=False,
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM. With a list, each CA in the upstream's chain needs a current one.",
    )
    crl_file = UploadField(label="Revocation list file", required=False, help_text="Instead of the text: PEM or DER.")
    pinned_spki_sha256 = ListField(
        label="Pinned public keys",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false"}),
        help_text="sha256 of SubjectPublicKeyInfo, hex or base64. One certificate of the upstream's chain must match.",
    )
    verify_depth = forms.IntegerField(
        label="Verify depth",
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How many intermediates may stand between the upstream's certificate and the CA. Empty: no limit.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notices: list[str] = []
        self.configuration = UpstreamTLSConfiguration(host_id=self.instance.pk)
        if not self.instance._state.adding:
            # Fetched anew: a refused form must not leave its values on the instance that the page shows.
            self.configuration = (
                UpstreamTLSConfiguration.objects.filter(host=self.instance).first() or self.configuration
            )
        for name in ("client_certificate", "ca_certificate", *_PLAIN_FIELDS, *_EXCEPTION_FIELDS, *_ADVANCED_FIELDS):
            self.fields[name].initial = getattr(self.configuration, name)
        self.fields["alpn"].initial = ", ".join(self.configuration.alpn)
        self.fields["pinned_spki_sha256"].initial = "\n".join(self.configuration.pinned_spki_sha256)
        self.fields["tls_enabled"].initial = self.configuration.enabled
        if self.configuration.has_client_key:
            self._explain_key("client_key", "A key is stored", self.configuration.client_key_spki_sha256)
        else:
            del self.fields["clear_client_key"]

    def clean_upstream_tls(self, *, will_be_issued: bool) -> None:
        """To be called by `clean()`. `will_be_issued`: certificate and key come from the local CA right after."""
        for name in ("ca_certificate", "crl"):
            if (text := self.cleaned_data.get(f"{name}_file")) is not None:
                self._replace(name, text)
        pair = UpstreamTLSChanges() if will_be_issued else self._client_pair()
        changes = replace(
            pair,
            enabled=KEEP if will_be_issued else self.cleaned_data["tls_enabled"],
            ca_certificate=self.cleaned_data.get("ca_certificate", ""),
            **{name: self.cleaned_data.get(name, "") for name in _PLAIN_FIELDS},
            **self._exception(),
            **{name: self.cleaned_data[name] for name in _ADVANCED_FIELDS if self._is_submitted(name)},
        )
        self.apply(changes)

    def clean_client_pair(self) -> UpstreamTLSChanges:
        """Instead of `clean_upstream_tls`, in a form of certificate and key alone: what to store, with mTLS enabled."""
        changes = replace(self._client_pair(), enabled=True)
        self.apply(changes)
        return changes

    def apply(self, changes: UpstreamTLSChanges) -> None:
        """Give `configuration` these values, and their errors to the fields that are meant."""
        try:
            apply_changes(self.configuration, changes, notices=self.notices, user_name=self.user_name)
        except ValidationError as error:
            for name, problems in error.error_dict.items():
                self.add_error(None if name == NON_FIELD_ERRORS else _FORM_NAMES.get(name, name), problems)
            self._keep_after(changes, error)
        else:
            self._keep_after(changes, None)

    def _exception(self) -> dict[str, Any]:
        """Reason and end date, when verification is skipped; otherwise the browser sent what it no longer showed."""
        if not self.cleaned_data.get("skip_verify"):
            return {}
        return {name: self.cleaned_data[name] for name in _EXCEPTION_FIELDS if self._is_submitted(name)}

    def _is_submitted(self, name: str) -> bool:
        """Whether the browser sent a usable value: what is missing from the page, or wrong in itself, is left alone."""
        value = self.cleaned_data.get(name)
        is_sent = self.add_prefix(name) in self.data or self.cleaned_data.get(f"{name}_file") is not None
        return name in self.cleaned_data and is_sent and not (name.endswith("_version") and not value)

    def _client_pair(self) -> UpstreamTLSChanges:
        """Certificate and key from whichever of the fields has them; a file goes before a text."""
        passphrase = self.cleaned_data.get("client_key_passphrase", "")
        certificate_file = self.cleaned_data.get("client_certificate_file") or ""
        pasted = self.cleaned_data.get("client_key_file") or self.cleaned_data.get("client_key", "")
        if certificate_file and _PKCS12_BEGIN not in certificate_file:
            self._replace("client_certificate", certificate_file)
        certificate, inner_key = separate_key(self.cleaned_data.get("client_certificate", ""))
        if inner_key:
            self._replace("client_certificate", certificate)
            self.notices.append(KEY_IGNORED if pasted else KEY_TAKEN)
        key = self._client_key(pasted or inner_key)
        for text in (certificate_file, pasted, key):
            if (content := pkcs12_in(text)) is not None:
                return UpstreamTLSChanges(client_pkcs12=content, client_key_passphrase=passphrase)
        return UpstreamTLSChanges(client_certificate=certificate, client_key=key, client_key_passphrase=passphrase)

    def _client_key(self, pasted: str) -> str | Keep:
        """The key of this or of an earlier try, "" to clear the stored one, or KEEP."""
        token: str = self.cleaned_data.get("kept_client_key", "")
        if pasted or not (token or self.cleaned_data.get("clear_client_key")):
            return pasted or KEEP
        if self.cleaned_data.get("clear_client_key"):
            return ""
        return self._kept_key("client_key", token, self._subject())

    def _kept_key(self, name: str, token: str, subject: str) -> str | Keep:
        """The key in a token that the form carried; one that does not open is told at the field `name`."""
        kept = open_key(token, user_id=self.user_id, subject=subject)
        if not kept:
            self.add_error(name, ValidationError("The kept key is lost: paste it again.", code="lost"))
        return kept or KEEP

    def _keep_after(self, changes: UpstreamTLSChanges, error: ValidationError | None) -> None:
        """Let the form carry what was read, in case that it is shown again."""
        problems = error.error_dict if error else {}
        codes = {problem.code for name in ("client_key", "client_pkcs12") for problem in problems.get(name, ())}
        key = self.configuration.client_key
        if key is not None and not key.blob:  # read just now
            kept = key.reveal().decode("ascii")
            self._explain_key("client_key", "The key you pasted is kept", self.configuration.client_key_spki_sha256)
        elif codes & _KEPT_CODES:
            kept = _kept_text(changes)
            self._explain_key("client_key", "What you uploaded is kept and waits for its passphrase", "")
        else:
            kept = ""
        self._keep("kept_client_key", kept, self._subject())
        is_entered = changes.client_certificate is not KEEP or changes.client_pkcs12 is not KEEP
        if is_entered and not {"client_certificate", "client_pkcs12"} & problems.keys():
            self._show("client_certificate", self.configuration.client_certificate)
        if self.notices:
            self._explain("client_certificate", " ".join(self.notices))

    def _replace(self, name: str, text: str) -> None:
        """Take `text` as what was entered into a field, and show it there if the form is shown again."""
        self.cleaned_data[name] = text
        if "-----BEGIN " in text:
            self._show(name, text)

    def _keep(self, name: str, pem: str, subject: str) -> None:
        """Let the hidden field `name` carry a key, sealed."""
        self._show(name, seal_key(pem, user_id=self.user_id, subject=subject) if pem else "")

    def _show(self, name: str, text: str) -> None:
        data = QueryDict(mutable=True)
        data.update(self.data)
        data[self.add_prefix(name)] = text
        self.data = data

    def _subject(self) -> str:
        return "new" if self.instance._state.adding else str(self.instance.pk)

    def _explain_key(self, name: str, what: str, spki_sha256: str) -> None:
        fingerprint = format_html(" (public key SHA-256 <code>{}</code>)", spki_sha256) if spki_sha256 else ""
        text = format_html("{}{}. Paste another one to replace it; it is never shown.", what, fingerprint)
        self._explain(name, text)

    def _explain(self, name: str, text: str) -> None:
        # Both: the bound field copies the text when it is first looked at.
        self.fields[name].help_text = self[name].help_text = text


def pkcs12_in(text: str | Keep) -> bytes | None:
    """The PKCS#12 file that `UploadField` made a PEM text of; None for any other text."""
    return _der_of(text) if isinstance(text, str) and _PKCS12_BEGIN in text else None


def _der_of(text: str) -> bytes:
    """The PKCS#12 file in a PEM text; rubbish comes out as rubbish, for the reader of PKCS#12 to refuse."""
    try:
        return unarmoured(text.encode("utf-8", "replace"))
    except ValueError:
        return b"?"


def _kept_text(changes: UpstreamTLSChanges) -> str:
    if isinstance(changes.client_pkcs12, bytes):
        return armoured(changes.client_pkcs12, "PKCS12").decode("ascii")
    return changes.client_key if isinstance(changes.client_key, str) else ""
