"""Certificates in the editor."""

import datetime

import pytest

from aegis_site.kernel.certificates import CertificateFacts, describe
from tests.support.certificates import DAY, Authority
from tests.support.odd_certificates import revocation_list
from upstream_tls.panels import certificates_panel, crls_panel, validity
from upstream_tls.tls.lint import LintWarning

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


WARNING = LintWarning("no_client_auth", "client_certificate", "<i>lacks</i> clientAuth")


def test_warnings_stand_below_the_certificates() -> None:
    """With their code for whoever looks for it, and escaped; without certificates there is nothing to warn of."""
    shown = certificates_panel([FACTS], now=FACTS.not_before + DAY, warnings=[WARNING])
    assert shown.index("CN=orders.internal") < shown.index('data-code="no_client_auth"')
    assert "&lt;i&gt;lacks&lt;/i&gt; clientAuth" in shown
    assert certificates_panel([], now=FACTS.not_before, warnings=[WARNING]) == ""


def test_revocation_lists_are_shown() -> None:
    """Issuer, dates and how many certificates are revoked; the first few of many."""
    now = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
    crl = revocation_list(CA, 7, 8, now=now)
    shown = crls_panel((crl,) * 7, warnings=[WARNING])
    for text in ("CN=\\&lt;b", "2026-05-31 00:00 UTC", "2026-06-08 00:00 UTC", "2 certificates", "and 2 more", "lacks"):
        assert text in shown
    assert crls_panel((), warnings=[WARNING]) == ""
