"""What is asked on the page "What if": one form, of which each kind of change uses its own fields.

Laws of this module: what may be asked is decided by `hosts.what_if_changes.planned`; no widget renders a private key.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms import BoundField
from unfold.widgets import UnfoldAdminSelectWidget

from hosts.connection_tests import leaves_of_upstreams
from hosts.models import DownstreamTLSConfiguration
from hosts.what_if_changes import Change, Kind, planned
from localca.models import IssuedCertificate
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.form_fields import PEM_ATTRIBUTES, CertificateTextarea, key_field, key_passphrase_field
from upstream_tls.models import TLSVersion, UpstreamTLSConfiguration
from upstream_tls.stored import stored_certificates

_FIELDS = {
    Kind.MIN_VERSION: ("min_version",),
    Kind.REMOVE_CA_CERTIFICATE: ("removed",),
    Kind.CA_CERTIFICATE: ("ca_certificate",),
    Kind.REPLACE_CERTIFICATE: ("replaced", "client_certificate", "client_key", "client_key_passphrase"),
    Kind.REVOKE_CERTIFICATE: ("revoked",),
}
TITLES = {
    Kind.MIN_VERSION: "A higher minimum TLS version",
    Kind.REMOVE_CA_CERTIFICATE: "A CA certificate is removed",
    Kind.CA_CERTIFICATE: "Another CA certificate everywhere",
    Kind.REPLACE_CERTIFICATE: "A client certificate is replaced",
    Kind.REVOKE_CERTIFICATE: "A certificate of the local CA is revoked",
}
# The field that names a certificate, where an error about it belongs.
_NAMING_FIELDS = {
    Kind.REMOVE_CA_CERTIFICATE: "removed",
    Kind.REPLACE_CERTIFICATE: "replaced",
    Kind.REVOKE_CERTIFICATE: "revoked",
}

Choices = list[tuple[str, str]]


class WhatIfForm(forms.Form):
    """`change` is what was asked, after `is_valid()`. Five queries for the choices."""

    kind = forms.ChoiceField(choices=[(str(kind), title) for kind, title in TITLES.items()], widget=forms.HiddenInput)
    min_version = forms.ChoiceField(
        label="Minimum TLS version",
        required=False,
        choices=TLSVersion.choices,
        initial=TLSVersion.TLS_1_3,
        widget=UnfoldAdminSelectWidget,
        help_text="For every host whose minimum is lower.",
    )
    removed = forms.ChoiceField(
        label="CA certificate",
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Out of the CA bundle of every host that has it.",
    )
    ca_certificate = forms.CharField(
        label="New CA Certificate",
        required=False,
        widget=CertificateTextarea(PEM_ATTRIBUTES),
        help_text="PEM. Instead of whatever each host has; empty: the system trust store.",
    )
    replaced = forms.ChoiceField(
        label="Client certificate in use",
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="For every host that presents it.",
    )
    client_certificate = forms.CharField(
        label="New Client Certificate", required=False, widget=CertificateTextarea(PEM_ATTRIBUTES), help_text="PEM."
    )
    client_key = key_field("New Client Key")
    client_key_passphrase = key_passphrase_field()
    revoked = forms.ChoiceField(
        label="Certificate",
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Of those that a host presents or shows to its clients, or that an upstream showed at its last test. "
        "Nothing is connected to: a revocation cannot be tried without doing it.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.change: Change | None = None
        self.fields["client_key"].help_text = "PEM. Tried and forgotten: it is not stored and never shown."
        presented = _presented()
        self._choose("removed", _labelled(_certificates_of_bundles()))
        self._choose("replaced", _labelled(presented))
        known = map(_fingerprint, [*presented, *_shown_to_clients()])
        self._choose("revoked", _issued({*known, *leaves_of_upstreams()}))

    def sections(self) -> list[tuple[Kind, str, list[BoundField]]]:
        """Each kind of change with its title and fields, those first that can be answered by trying."""
        return [(kind, title, [self[name] for name in _FIELDS[kind]]) for kind, title in TITLES.items()]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return values
        kind = Kind(values["kind"])
        try:
            self.change = planned(
                kind, certificate=values.get(_NAMING_FIELDS.get(kind, ""), ""), settings=_settings(kind, values)
            )
        except ValidationError as error:
            self.refuse(kind, error)
        return values

    def refuse(self, kind: Kind, error: ValidationError) -> None:
        """Show an error of `planned` or of the question itself at the field that is meant."""
        fields = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
        for name, problems in fields.items():
            self.add_error(name if name in self.fields else _NAMING_FIELDS.get(kind), problems)

    def _choose(self, name: str, choices: Choices) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 (for the type checker)
        field.choices = choices


def _settings(kind: Kind, values: dict[str, Any]) -> UpstreamTLSChanges:
    match kind:
        case Kind.MIN_VERSION:
            return UpstreamTLSChanges(min_version=values["min_version"])
        case Kind.CA_CERTIFICATE:
            return UpstreamTLSChanges(ca_certificate=values["ca_certificate"])
        case Kind.REPLACE_CERTIFICATE:
            names = ("client_certificate", "client_key", "client_key_passphrase")
            return UpstreamTLSChanges(enabled=True, **{name: values[name] for name in names})
    return UpstreamTLSChanges()


def _certificates_of_bundles() -> Counter[x509.Certificate]:
    """The certificates in the hosts' CA bundles, and how many hosts have each. One query."""
    rows = UpstreamTLSConfiguration.objects.exclude(ca_certificate="").values_list("ca_certificate", flat=True)
    found: Counter[x509.Certificate] = Counter()
    for text, count in Counter(rows).items():
        for certificate in set(stored_certificates(text)):
            found[certificate] += count
    return found


def _presented() -> Counter[x509.Certificate]:
    """The client certificates that hosts present, and how many present each. One query."""
    return _first_of_each(
        UpstreamTLSConfiguration.objects.filter(enabled=True).values_list("client_certificate", flat=True)
    )


def _shown_to_clients() -> Counter[x509.Certificate]:
    """The certificates that hosts show to their clients. One query."""
    return _first_of_each(
        DownstreamTLSConfiguration.objects.exclude(certificate="").values_list("certificate", flat=True)
    )


def _first_of_each(chains: Iterable[str]) -> Counter[x509.Certificate]:
    found: Counter[x509.Certificate] = Counter()
    for text, count in Counter(chains).items():
        found[stored_certificates(text)[0]] += count
    return found


def _labelled(certificates: Counter[x509.Certificate]) -> Choices:
    """By fingerprint, in the order of their subjects."""
    labels = [
        (_fingerprint(found), f"{_subject(found)}, until {found.not_valid_after_utc:%Y-%m-%d} ({_hosts(count)})")
        for found, count in certificates.items()
    ]
    return sorted(labels, key=lambda choice: choice[1])


def _issued(fingerprints: Collection[str]) -> Choices:
    """By serial number, those that the local CA issued. One query."""
    issued = IssuedCertificate.objects.filter(fingerprint_sha256__in=fingerprints).order_by("subject")
    return [(found.serial_number, f"{found.subject}, serial number {found.serial_number}") for found in issued]


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"(serial number {certificate.serial_number:x})"


def _hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"
