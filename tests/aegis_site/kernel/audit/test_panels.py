"""Entries made readable."""

from typing import Any

import pytest

from aegis_site.kernel.audit.changes import Change
from aegis_site.kernel.audit.panels import (
    SHOWN_CHANGES,
    SHOWN_CHARACTERS,
    action_label,
    changes_panel,
    readable,
    summary,
)
from tests.support.certificates import Authority

CA = Authority("Orders CA")
LEAF = CA.client("orders client")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", "empty"),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        (1.5, "1.5"),
        (["a", "b"], '["a", "b"]'),
        ("DENY", "DENY"),
    ],
)
def test_values(value: Any, text: str | None) -> None:
    """As an operator would say them."""
    assert readable(value) == text


def test_long_texts_are_cut() -> None:
    """And say how much is missing."""
    assert readable("x" * (SHOWN_CHARACTERS + 7)) == "x" * SHOWN_CHARACTERS + "… (7 more characters)"


def test_certificates_are_shown_by_subject_and_fingerprint() -> None:
    """One line for each; what cannot be read has a digest of its text."""
    text = readable(LEAF.chain_pem)
    assert text is not None
    assert text.startswith("CN=orders client, until ")
    assert "-----BEGIN" not in text
    assert len((readable(LEAF.chain_pem * 7) or "").splitlines()) <= 6
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert (readable(broken) or "").startswith("Certificate, SHA-256 of the text ")
    assert (readable("-----BEGIN X509 CRL-----\nAAAA") or "").startswith("X509 crl, SHA-256 of the text ")


def test_nested_parts_have_rows_of_their_own() -> None:
    """What appeared or went as a whole is shown field by field, escaped."""
    panel = changes_panel(
        [
            Change(field="upstreams", before=None, after=[{"address": "<b>", "port": 1}]),
            Change(field="tls", before={"enabled": True}, after=None),
            Change(field="domains", before=None, after=["a.example.com"]),
        ]
    )
    for text in ("upstreams[0].address", "&lt;b&gt;", "upstreams[0].port", "tls.enabled", "a.example.com"):
        assert text in panel
    assert "<b>" not in panel


def test_the_table_is_bounded() -> None:
    """It says how many rows it leaves out."""
    changes = [Change(field=f"f{i}", before=1, after=2) for i in range(SHOWN_CHANGES + 5)]
    panel = changes_panel(changes)
    assert panel.count("<td") == SHOWN_CHANGES * 3
    assert "and 5 more fields" in panel
    assert "No field was changed." in changes_panel([])


def test_a_summary_names_some_fields() -> None:
    """And counts the rest."""
    changes = [Change(field=f"f{i}", before=1, after=2) for i in range(6)]
    assert summary(changes) == "f0, f1, f2, f3 and 2 more"
    assert summary(changes[:2]) == "f0, f1"
    assert action_label("sign_in_failed") == "Sign in failed"
