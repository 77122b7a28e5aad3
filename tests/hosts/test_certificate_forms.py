"""What the forms of the page "Client certificate" make of what was typed."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from hosts.certificate_forms import IssueAndInstallForm, RequestForm, SignedCertificateForm
from localca.keys import KeyType
from tests.hosts.examples import LEAF
from upstream_tls.certificate_requests import Wish


def request_form(**values: str) -> RequestForm:
    data = {"common_name": "orders", "key_type": "RSA 2048", **values}
    return RequestForm({f"request-{name}": value for name, value in data.items()})


def test_a_wish_is_what_was_typed() -> None:
    """Empty alternative names are those that the common name gives."""
    form = request_form(subject_alt_names=" DNS:a.example \n\n IP:10.0.0.7", organization="Orders Ltd", country="DE")
    assert form.is_valid()
    assert form.wish() == Wish(
        common_name="orders",
        subject_alt_names=("DNS:a.example", "IP:10.0.0.7"),
        organization="Orders Ltd",
        country="DE",
        key_type=KeyType.RSA_2048,
    )
    plain = request_form(subject_alt_names=" \n")
    assert plain.is_valid()
    assert plain.wish() == Wish(common_name="orders", key_type=KeyType.RSA_2048)


@pytest.mark.parametrize(
    ("values", "field_name"),
    [({"common_name": ""}, "common_name"), ({"key_type": "DSA"}, "key_type"), ({"country": "DEU"}, "country")],
)
def test_what_is_no_wish_is_refused_at_its_field(values: dict[str, str], field_name: str) -> None:
    """Before anything is made."""
    assert list(request_form(**values).errors) == [field_name]


@pytest.mark.parametrize(("days", "is_valid"), [("", True), ("1", True), ("825", True), ("826", False), ("0", False)])
def test_how_long_a_certificate_may_be_valid(days: str, is_valid: bool) -> None:
    """Empty is the usual time."""
    form = IssueAndInstallForm({"issue-key_type": "Ed25519", "issue-validity_days": days})
    assert form.is_valid() is is_valid


@pytest.mark.parametrize(
    ("text", "file", "errors"),
    [
        (LEAF.chain_pem, None, {}),
        ("", LEAF.chain_pem, {}),
        (LEAF.chain_pem, LEAF.chain_pem, {"certificate_file": "conflict"}),
        ("", None, {"certificate": "required"}),
    ],
)
def test_a_signed_certificate_is_a_text_or_a_file(text: str, file: str | None, errors: dict[str, str]) -> None:
    """One of the two."""
    files: dict[str, Any] = {"certificate_file": SimpleUploadedFile("a.crt", file.encode())} if file else {}
    form = SignedCertificateForm({"certificate": text}, files)
    assert {name: problems[0].code for name, problems in form.errors.as_data().items()} == errors
    if not errors:
        assert form.chain_pem().strip() == LEAF.chain_pem.strip()
