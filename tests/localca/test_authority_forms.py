"""The forms by which CAs are changed."""

import inspect
from typing import Any

import pytest
from django import forms

from localca.authority_forms import (
    CrlUrlForm,
    ExportKeyForm,
    ImportAuthorityForm,
    KeyForm,
    NewAuthorityForm,
    RemoveKeyForm,
)
from localca.authority_keys import remove_key, restore_key
from localca.hierarchy import create_intermediate, create_root, set_crl_url
from localca.importing import import_intermediate

SECRET = "-----BEGIN PRIVATE KEY----- canary"


@pytest.mark.parametrize(
    ("form", "service"),
    [
        (NewAuthorityForm, create_intermediate),
        (NewAuthorityForm, create_root),
        (CrlUrlForm, set_crl_url),
        (ImportAuthorityForm, import_intermediate),
        (KeyForm, restore_key),
        (RemoveKeyForm, remove_key),
    ],
)
def test_fields_are_the_services_arguments(form: type[forms.Form], service: Any) -> None:
    """So that errors of a service are shown at the field."""
    arguments = set(inspect.signature(service).parameters) - {"user", "authority"}
    assert form().fields.keys() == arguments


@pytest.mark.parametrize("form", [ImportAuthorityForm, KeyForm, ExportKeyForm])
def test_secrets_are_not_rendered(form: type[forms.Form]) -> None:
    """A form that comes back has neither the key nor the passphrase."""
    values = {"private_key": SECRET, "passphrase": SECRET, "passphrase_again": SECRET}
    assert "canary" not in form(values).as_p()


def test_passphrases_are_typed_twice() -> None:
    """What was mistyped is told at the second field."""
    good = {"passphrase": "correct horse battery", "passphrase_again": "correct horse battery"}
    assert ExportKeyForm(good).is_valid()
    form = ExportKeyForm({**good, "passphrase_again": "correct horse batterz"})
    assert form.errors == {"passphrase_again": ["The two passphrases differ."]}
    assert "passphrase" in ExportKeyForm({"passphrase": "short", "passphrase_again": "short"}).errors
