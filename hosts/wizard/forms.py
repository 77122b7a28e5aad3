"""What is asked in the steps. What is valid is decided where it is stored: `hosts.drafts` and `upstream_tls.services`.

Laws of this module: a form with errors loses nothing, and no widget renders a private key (`upstream_tls.forms`).
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from hosts.models import Host, Scheme, Upstream
from hosts.specs import UpstreamSpec
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.form_fields import PEM_ATTRIBUTES, CertificateTextarea, UploadField
from upstream_tls.forms import UpstreamTLSFields

SECRET_PARAMETERS = ("client_certificate", "client_key", "client_key_passphrase", "kept_client_key")
PAIR_FIELDS = (
    "client_certificate",
    "client_certificate_file",
    "client_key",
    "client_key_file",
    "kept_client_key",
    "client_key_passphrase",
)

_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443}
_SEPARATORS = re.compile(r"[\s,;]+")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class DomainsForm(forms.Form):
    """The names under which clients ask for the host, and what it is called here."""

    domains = forms.CharField(
        label="Domains",
        max_length=100_000,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false", "placeholder": "orders.example.com"}),
        help_text="What clients ask for. One per line; *.example.com stands for all names below it.",
    )
    name = forms.CharField(
        label="Name",
        required=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="What this host is called here. Empty: its first domain.",
    )

    def clean_domains(self) -> tuple[str, ...]:
        return tuple(name for name in _SEPARATORS.split(self.cleaned_data["domains"]) if name)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not values.get("name") and values.get("domains"):
            values["name"] = values["domains"][0][: Host._meta.get_field("name").max_length]
        return values


class UpstreamsForm(forms.Form):
    """Where requests go."""

    upstreams = forms.CharField(
        label="Upstream",
        max_length=100_000,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false", "placeholder": "https://10.0.0.5:8443"}),
        help_text="Its URL, such as https://10.0.0.5:8443; several: one per line. Without a scheme it is https, and "
        "without a port 443 (http: 80).",
    )

    def clean_upstreams(self) -> list[tuple[str, str, int]]:
        """Scheme, address and port of each."""
        found: dict[tuple[str, str, int], None] = {}
        problems: list[ValidationError] = []
        for text in filter(None, _SEPARATORS.split(self.cleaned_data["upstreams"])):
            try:
                found[target_of_url(text)] = None
            except ValidationError as error:
                problems.extend(error.error_list)
        if problems:
            raise ValidationError(problems)
        if not found:
            raise ValidationError("Enter at least one upstream.", code="required")
        return list(found)


class TrustForm(forms.Form):
    """What verifies the upstream's certificate."""

    ca_certificate = forms.CharField(
        label="CA Certificate",
        required=False,
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM, of the CA that issued the upstream's certificate. Empty: the system trust store.",
    )
    ca_certificate_file = UploadField(
        label="CA file", required=False, help_text="Instead of the text: PEM, DER or PKCS#7 (.p7b)."
    )

    def pem(self) -> str:
        """What was entered, after `is_valid()`."""
        return str(self.cleaned_data.get("ca_certificate_file") or self.cleaned_data["ca_certificate"])


class ServerNameForm(forms.Form):
    """The name that is asked for."""

    server_name = forms.CharField(
        label="Server name",
        required=False,
        widget=UnfoldAdminTextInputWidget({"spellcheck": "false", "autocomplete": "off"}),
        help_text="Sent as SNI and looked for in the upstream's certificate. Empty: the upstream's address.",
    )


class UploadForm(UpstreamTLSFields):
    """A client certificate with its key. `changes` is what to store, after `is_valid()`."""

    class Meta:
        model = Host
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes = UpstreamTLSChanges()
        for name in set(self.fields) - set(PAIR_FIELDS):
            del self.fields[name]

    def clean(self) -> None:
        super().clean()
        self.changes = self.clean_client_pair()


def refuse(form: forms.BaseForm, error: ValidationError) -> None:
    """Show the errors of a service at the fields that are meant: `upstreams[0].address` at `upstreams`."""
    found = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    for path, problems in found.items():
        name = re.split(r"[.\[]", path.removeprefix("upstream_tls."))[0]
        form.add_error(name if name in form.fields else None, problems)


def target_of_url(text: str) -> tuple[str, str, int]:
    """Scheme, address and port of an upstream as people write it. Raises ValidationError, which names it."""
    shown = repr(text[:100])
    try:
        parts = urlsplit(text if _HAS_SCHEME.match(text) else f"https://{text}")
        address, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValidationError(f"{shown} is no URL with an address and a port.", code="invalid") from error
    if parts.scheme not in Scheme.values:
        raise ValidationError(f"{shown}: an upstream is reached by http or https.", code="invalid")
    if not address or parts.username is not None:
        raise ValidationError(f"{shown}: write it as https://address:port.", code="invalid")
    if _has_more(parts):
        raise ValidationError(f"{shown}: leave out the path; each request brings its own.", code="invalid")
    return parts.scheme, address, port if port is not None else _PORTS[Scheme(parts.scheme)]


def shown_upstreams(upstreams: Sequence[Upstream]) -> str:
    """Those that get requests, as the form takes them."""
    return "\n".join(str(upstream) for upstream in upstreams if upstream.enabled)


def upstream_specs(targets: Sequence[tuple[str, str, int]], stored: Sequence[Upstream]) -> tuple[UpstreamSpec, ...]:
    """These upstreams; what else is stored of one of them is kept, and so are those that are switched off."""
    before = {(upstream.scheme, upstream.address, upstream.port): upstream for upstream in stored}
    wanted = [
        UpstreamSpec(
            scheme=scheme,
            address=address,
            port=port,
            **_kept(before[(scheme, address, port)]) if (scheme, address, port) in before else {},
        )
        for scheme, address, port in targets
    ]
    others = [
        UpstreamSpec(scheme=scheme, address=address, port=port, enabled=False, **_kept(upstream))
        for (scheme, address, port), upstream in before.items()
        if not upstream.enabled and (scheme, address, port) not in targets
    ]
    return (*wanted, *others)


def _kept(upstream: Upstream) -> dict[str, Any]:
    return {"weight": upstream.weight, "backup": upstream.backup, "drain": upstream.drain}


def _has_more(parts: SplitResult) -> bool:
    return parts.path not in ("", "/") or bool(parts.query) or bool(parts.fragment)
