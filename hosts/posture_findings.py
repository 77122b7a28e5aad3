"""What about a host's posture somebody should look at.

Laws of this module: no queries; a finding is a fact with its consequence, never a grade. What the lint of uploads says
keeps the lint's code and words.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography import x509

from hosts.downstream_lint import lint_downstream
from hosts.models import Host, Scheme
from upstream_tls.selectors import HostNames, warnings_of
from upstream_tls.tls.lint import EXPIRES_SOON


class Severity(StrEnum):
    """How much it matters: traffic fails or will not be protected; it will or may become so; good to know."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable (docs/api.md)."""

    code: str
    severity: Severity
    message: str


# Of the lint's codes; all others are warnings.
_CRITICAL = frozenset(("expired", "crl_expired", "not_yet_valid", "weak_key", "weak_signature"))
_HARMLESS = frozenset(("duplicate_certificate",))


def findings_of(
    document: Mapping[str, Any],
    *,
    host: Host,
    sharing: HostNames,
    known: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> tuple[Finding, ...]:
    """The findings on a host `with_configuration`, worst first. `document` is its posture (`hosts.posture`)."""
    found = [
        *_of_exceptions(document),
        *_of_mtls(document, host),
        *_of_lint(host, sharing, known, now),
        *(finding for upstream in document["upstreams"] for finding in _of_upstream(upstream, now)),
    ]
    return tuple(sorted(found, key=lambda finding: list(Severity).index(finding.severity)))


def _of_exceptions(document: Mapping[str, Any]) -> Iterator[Finding]:
    for exception in document["exceptions"]:
        if exception["kind"] == "skip_verify":
            until = f"until {exception['until']}" if exception["until"] else "without an end date"
            yield Finding(
                "skip_verify",
                Severity.CRITICAL,
                f"The upstreams' certificates are not verified, {until}: whoever sits in between can read along.",
            )
        else:
            yield Finding(
                "plain_http",
                Severity.WARNING,
                f"Reached without TLS: {', '.join(exception['upstreams'])}. Nobody proves anything to anybody there.",
            )


def _of_mtls(document: Mapping[str, Any], host: Host) -> Iterator[Finding]:
    speaks_tls = any(upstream.scheme == Scheme.HTTPS and upstream.enabled for upstream in host.upstreams.all())
    if speaks_tls and not document["mtls"]["enabled"]:
        yield Finding("mtls_off", Severity.INFO, "No client certificate is presented: any client can do as this host.")


def _of_lint(
    host: Host, sharing: HostNames, known: Sequence[x509.Certificate], now: datetime.datetime
) -> Iterator[Finding]:
    domains = [domain.name for domain in host.domains.all()]
    upstream = warnings_of(host.upstream_configuration, host_name=host.name, sharing=sharing, known=known, now=now)
    downstream = lint_downstream(host.downstream_configuration.chain, domains=domains, now=now)
    for prefix, warnings in (("", upstream), ("For clients: ", downstream)):
        for warning in warnings:
            yield Finding(warning.code, _severity(warning.code), prefix + warning.message)


def _severity(code: str) -> Severity:
    if code in _CRITICAL:
        return Severity.CRITICAL
    return Severity.INFO if code in _HARMLESS else Severity.WARNING


def _of_upstream(upstream: Mapping[str, Any], now: datetime.datetime) -> Iterator[Finding]:
    if not upstream["enabled"] or upstream["scheme"] != Scheme.HTTPS:
        return
    target, test = f"{upstream['address']}:{upstream['port']}", upstream["last_test"]
    if test is None:
        yield Finding("never_tested", Severity.INFO, f"{target} was never tested as the host is saved.")
        return
    if not test["is_current"]:
        yield Finding("test_outdated", Severity.INFO, f"The host was changed since {target} was last tested.")
    if not test["success"]:
        yield Finding("test_failed", Severity.CRITICAL, f"The last test of {target} failed: {test['code']}.")
    elif test["client_certificate_sent"] is False and test["client_certificate_requested"] is False:
        yield Finding(
            "client_certificate_not_requested",
            Severity.WARNING,
            f"{target} did not ask for a client certificate at the last test: it lets anybody in.",
        )
    if test["leaf"] and test["leaf"]["not_after"]:
        yield from _of_leaf(target, datetime.datetime.fromisoformat(test["leaf"]["not_after"]), now)


def _of_leaf(target: str, not_after: datetime.datetime, now: datetime.datetime) -> Iterator[Finding]:
    if not_after < now:
        text = f"The certificate that {target} showed at the last test expired on {not_after:%Y-%m-%d}."
        yield Finding("upstream_certificate_expired", Severity.CRITICAL, text)
    elif not_after < now + EXPIRES_SOON:
        text = f"The certificate that {target} showed at the last test expires on {not_after:%Y-%m-%d}."
        yield Finding("upstream_certificate_expires_soon", Severity.WARNING, text)
