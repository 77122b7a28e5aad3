"""What a connection test means for whoever sets up a host: in plain words, and with what puts it right.

Laws of this module:
- No query. What a failure is was decided by the probe; here it is only said, and a remedy offered where there is one.
- Nothing here turns verification off, and no remedy does: the one for an unknown certificate is to trust one by name.
- Texts of certificates come from strangers: the probe made them safe to print, and the templates escape them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from OpenSSL.crypto import X509

from hosts.connection_test_panel import verdict
from hosts.connection_tests import why_expired
from hosts.models import ConnectionTest
from upstream_tls.tls.peer import PresentedCertificate, describe_presented

DEMANDED = "client_certificate_required"
_NAME_CODES = frozenset(("name_mismatch", "ip_mismatch"))
# The upstream itself, or how it is addressed, has to be corrected.
_ADDRESS_CODES = frozenset(
    (
        *("connection_refused", "connection_reset", "connection_closed", "connect_failed"),
        *("timeout", "dns_failure", "unreachable", "not_tls", "malformed_response"),
    )
)
MAX_NAMES = 10

_HEADLINES = {
    DEMANDED: "It demands a client certificate.",
    "unknown_authority": "It has a certificate of an unknown CA.",
    "self_signed": "It has a self-signed certificate, which is unknown here.",
    "missing_intermediate": "It does not send the intermediate that issued its certificate.",
    "expired": "Its certificate has expired.",
    "not_yet_valid": "Its certificate is not valid yet.",
    "name_mismatch": "Its certificate is for other names.",
    "ip_mismatch": "Its certificate does not hold this IP address.",
    "not_tls": "It speaks no TLS on this port, perhaps plain HTTP.",
    "connection_refused": "Nobody listens there.",
    "timeout": "It does not answer in time.",
    "dns_failure": "Its name has no address.",
    "unreachable": "There is no route to it.",
    "client_certificate_untrusted": "It does not know the CA of this host's client certificate yet.",
    "client_certificate_bad": "It does not take this host's client certificate.",
    "client_certificate_rejected": "It refuses this host's client certificate.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A certificate that an upstream presented, to be trusted by whoever finds its fingerprint right."""

    facts: PresentedCertificate
    pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One upstream as it was found. `kind` and `badge` are a badge's; `cause`, `fix` and `code` those of a failure.

    `accepted_cas`: the CAs whose client certificates the upstream says that it takes; empty: it did not say. What one
    click can put right: `anchor`, `server_names` (the names in the certificate that can be asked for), `is_plain`: the
    upstream may be spoken to without TLS. `is_address`: it is the upstream's address that has to be corrected.
    """

    test: ConnectionTest
    kind: str
    badge: str
    headline: str
    code: str = ""
    cause: str = ""
    fix: str = ""
    accepted_cas: tuple[str, ...] = ()
    anchor: Anchor | None = None
    server_names: tuple[str, ...] = ()
    is_name: bool = False
    is_plain: bool = False
    is_address: bool = False


def finding_of(test: ConnectionTest) -> Finding:
    """What a test that was requested means, over or not."""
    kind, badge = verdict(test)
    if test.result is None:
        headline = why_expired(test) if test.is_over else "The test is running."
        return Finding(test=test, kind=kind, badge=badge, headline=headline)
    error = test.result["error"]
    accepted = tuple((test.result["tls"] or {}).get("acceptable_ca_names", ()))
    if error is None:
        return Finding(test=test, kind=kind, badge=badge, headline=_admitted(test.result), accepted_cas=accepted)
    code = error["code"]
    is_demand = code == DEMANDED and not (test.result["tls"] or {}).get("client_certificate_sent")
    return Finding(
        test=test,
        # What a check is there to find out is no fault.
        kind="info" if is_demand else kind,
        badge="Asks for mTLS" if is_demand else badge,
        headline=_HEADLINES.get(code, error["message"]),
        code=code,
        cause=error["cause"],
        fix=error["fix"],
        accepted_cas=accepted,
        anchor=_anchor(test.result.get("offered_anchor_pem", "")),
        server_names=_names(test.result) if code in _NAME_CODES else (),
        is_name=code in _NAME_CODES,
        is_plain=code == "not_tls",
        is_address=code in _ADDRESS_CODES,
    )


def anchor_in(findings: Iterable[Finding], fingerprint: str) -> Anchor | None:
    """The certificate of this fingerprint that an upstream showed: what a browser sends is but its name."""
    anchors = (finding.anchor for finding in findings if finding.anchor is not None)
    return next((anchor for anchor in anchors if anchor.facts.fingerprint_sha256 == fingerprint), None)


def demands_certificate(finding: Finding) -> bool:
    """Whether the upstream lets nobody in without a client certificate."""
    return finding.code == DEMANDED


def _admitted(result: Mapping[str, Any]) -> str:
    tls, status = result["tls"], result["http"]["status"]
    if tls["client_certificate_sent"]:
        return f"It takes this host's client certificate, and answers (HTTP {status})."
    if tls["client_certificate_requested"]:
        return f"It asks for a client certificate, but answers without one as well (HTTP {status})."
    return f"It asks for no client certificate: whoever reaches it gets an answer (HTTP {status})."


def _anchor(pem: str) -> Anchor | None:
    try:
        certificate = X509.from_cryptography(x509.load_pem_x509_certificate(pem.encode("ascii"))) if pem else None
    except ValueError:
        return None
    return Anchor(facts=describe_presented(certificate), pem=pem) if certificate is not None else None


def _names(result: Mapping[str, Any]) -> tuple[str, ...]:
    """DNS names of the leaf that can be asked for as they stand: no wildcards."""
    names = [name.removeprefix("DNS:") for name in result["chain"][0]["subject_alt_names"] if name.startswith("DNS:")]
    return tuple(name for name in names if "*" not in name)[:MAX_NAMES]
