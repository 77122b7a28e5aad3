"""Certificates in the editor."""

import datetime

import pytest

from aegis_site.kernel.certificates import CertificateFacts, describe
from tests.support.certificates import DAY, Authority
from upstream_tls.panels import certificates_panel, validity

CA = Authority("<b>CA</b>")
FACTS = describe(CA.server("orders.internal", "10.0.0.7").certificate)


@pytest.mark.parametrize(
    ("moment", "badge"),
    [
        (FACTS.not_before - DAY, ("danger", "Not yet valid")),
        (FACTS.not_before, ("success", "Valid")),
        (FACTS.not_after - 31 * DAY, ("success", "Valid")),
        (FACTS.not_after - 10 * DAY, ("warning", "Expires in 10 days")),
        (FACTS.not_after + DAY, ("danger", "Expired")),
    ],
)
def test_validity_is_said_in_a_word(moment: datetime.datetime, badge: tuple[str, str]) -> None:
    """Before, within, near the end of and after the certificate's life."""
    assert validity(FACTS, now=moment) == badge


def panel(*certificates: CertificateFacts) -> str:
    return certificates_panel(certificates, now=FACTS.not_before + DAY)


def test_the_facts_are_shown_and_escaped() -> None:
    """Subject, issuer, names, key and fingerprint; a certificate cannot bring markup."""
    shown = panel(FACTS)
    assert "CN=orders.internal" in shown
    assert "DNS:orders.internal, IP:10.0.0.7" in shown
    assert "EC P-256" in shown
    assert FACTS.fingerprint_sha256 in shown
    assert "<b>" not in shown
    assert "&lt;b" in shown


def test_a_large_bundle_does_not_fill_the_page() -> None:
    """The first few are shown, the others are counted; none gives nothing."""
    assert panel(*[FACTS] * 7).count("CN=orders.internal") == 5
    assert "and 2 more" in panel(*[FACTS] * 7)
    assert panel() == ""
