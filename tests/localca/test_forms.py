"""The forms of the admin pages: from what a browser sends to an order."""

from localca.forms import IssueForm, RenewForm
from localca.keys import KeyType
from localca.models import Purpose
from localca.orders import Order

VALUES = {"purpose": "server", "common_name": "orders", "key_type": "Ed25519", "form": "zip"}


def test_an_order() -> None:
    """Names are one a line, empty lines do not count, and no validity means the usual one."""
    form = IssueForm({**VALUES, "subject_alt_names": " DNS:a \r\n\r\nIP:10.0.0.7", "issued_for": "note"})
    assert form.is_valid(), form.errors
    assert form.order() == Order(
        purpose=Purpose.SERVER,
        common_name="orders",
        subject_alt_names=("DNS:a", "IP:10.0.0.7"),
        key_type=KeyType.ED25519,
        issued_for="note",
    )


def test_pkcs12_needs_a_passphrase() -> None:
    """Unless there is no key to hand over."""
    for values, is_valid in (
        ({"form": "pkcs12"}, False),
        ({"form": "pkcs12", "passphrase": "correct horse"}, True),
        ({"form": "pkcs12", "csr": "a request"}, True),
    ):
        assert RenewForm(values).is_valid() is is_valid


def test_a_passphrase_is_not_rendered() -> None:
    """Neither in a form with errors nor otherwise; white space is part of it."""
    form = IssueForm({**VALUES, "purpose": "nothing", "passphrase": " swordfish canary "})
    assert not form.is_valid()
    assert form.cleaned_data["passphrase"] == " swordfish canary "
    assert "swordfish canary" not in form.as_p()
