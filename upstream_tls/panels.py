"""Read-only views of certificates in the editor."""

import datetime
from collections.abc import Iterable, Sequence

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from aegis_site.kernel.certificates import CertificateFacts
from upstream_tls.tls.crl import RevocationLists
from upstream_tls.tls.lint import EXPIRES_SOON, LintWarning

# A bundle of all public CAs would make the page endless.
SHOWN_CERTIFICATES = 5


def certificates_panel(
    certificates: Sequence[CertificateFacts], *, now: datetime.datetime, warnings: Iterable[LintWarning] = ()
) -> SafeString:
    """Subject, issuer, validity, names and fingerprint of each certificate, the first few of many, then warnings."""
    if not certificates:
        return SafeString("")
    shown = [{"facts": facts, "state": validity(facts, now=now)} for facts in certificates[:SHOWN_CERTIFICATES]]
    context = {"certificates": shown, "hidden_count": len(certificates) - len(shown), "warnings": list(warnings)}
    return render_to_string("upstream_tls/certificates_panel.html", context)


def crls_panel(crls: RevocationLists, *, warnings: Iterable[LintWarning]) -> SafeString:
    """Issuer, dates and number of entries of each list, the first few of many, then warnings."""
    if not crls:
        return SafeString("")
    shown = [
        {
            "issuer": crl.issuer.rfc4514_string(),
            "last_update": crl.last_update_utc,
            "next_update": crl.next_update_utc,
            "count": len(crl),
        }
        for crl in crls[:SHOWN_CERTIFICATES]
    ]
    context = {"crls": shown, "hidden_count": len(crls) - len(shown), "warnings": list(warnings)}
    return render_to_string("upstream_tls/crls_panel.html", context)


def validity(facts: CertificateFacts, *, now: datetime.datetime) -> tuple[str, str]:
    """A badge's kind and text."""
    if now < facts.not_before:
        return "danger", "Not yet valid"
    if now > facts.not_after:
        return "danger", "Expired"
    if now > facts.not_after - EXPIRES_SOON:
        return "warning", f"Expires in {(facts.not_after - now).days} days"
    return "success", "Valid"
