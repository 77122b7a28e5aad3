"""Read-only views of certificates in the editor."""

import datetime
from collections.abc import Sequence

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from aegis_site.kernel.certificates import CertificateFacts

EXPIRES_SOON = datetime.timedelta(days=30)

# A bundle of all public CAs would make the page endless.
SHOWN_CERTIFICATES = 5


def certificates_panel(certificates: Sequence[CertificateFacts], *, now: datetime.datetime) -> SafeString:
    """Subject, issuer, validity, names and fingerprint of each certificate, the first few of many."""
    if not certificates:
        return SafeString("")
    shown = [{"facts": facts, "state": validity(facts, now=now)} for facts in certificates[:SHOWN_CERTIFICATES]]
    context = {"certificates": shown, "hidden_count": len(certificates) - len(shown)}
    return render_to_string("upstream_tls/certificates_panel.html", context)


def validity(facts: CertificateFacts, *, now: datetime.datetime) -> tuple[str, str]:
    """A badge's kind and text."""
    if now < facts.not_before:
        return "danger", "Not yet valid"
    if now > facts.not_after:
        return "danger", "Expired"
    if now > facts.not_after - EXPIRES_SOON:
        return "warning", f"Expires in {(facts.not_after - now).days} days"
    return "success", "Valid"
