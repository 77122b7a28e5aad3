"""What somebody should look at."""

import datetime
from typing import Any

import pytest
from django.utils import timezone

from hosts.models import Host
from hosts.posture import postures
from hosts.posture_findings import Finding, Severity, findings_of
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host, mtls, site
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db


def found(host: Host, *, now: datetime.datetime | None = None, **test: Any) -> dict[str, Finding]:
    """By code; `test` is what the first upstream's last test says, if anything."""
    now = now or timezone.now()
    host = Host.objects.with_configuration().get(pk=host.pk)
    (document,) = postures([host], now=now)
    if test:
        good = {
            "is_current": True,
            "success": True,
            "code": "",
            "client_certificate_requested": True,
            "client_certificate_sent": True,
            "leaf": None,
        }
        document["upstreams"][0]["last_test"] = {**good, **test}
    return {finding.code: finding for finding in findings_of(document, host=host, sharing={}, known=(), now=now)}


def test_a_host_without_faults_has_no_findings() -> None:
    """mTLS, verification, and a test that passed."""
    assert found(make_host(upstream_tls=mtls()), success=True) == {}


def test_exceptions_are_findings() -> None:
    """With their end, and the lack of one."""
    host = make_host(
        upstream_tls=UpstreamTLSChanges(skip_verify=True),
        upstreams=(UpstreamSpec(scheme="http", address="backend", port=80),),
    )
    findings = found(host)
    assert findings.keys() == {"skip_verify", "skip_verify_without_end", "plain_http"}
    assert "without an end date" in findings["skip_verify"].message
    assert "http://backend:80" in findings["plain_http"].message


@pytest.mark.parametrize(
    ("test", "code", "severity"),
    [
        ({"success": False, "code": "unknown_authority"}, "test_failed", Severity.CRITICAL),
        ({"is_current": False}, "test_outdated", Severity.INFO),
        (
            {"client_certificate_requested": False, "client_certificate_sent": False},
            "client_certificate_not_requested",
            Severity.WARNING,
        ),
        ({"leaf": {"not_after": "2020-01-01T00:00:00Z"}}, "upstream_certificate_expired", Severity.CRITICAL),
        ({"leaf": {"not_after": None}}, "", Severity.INFO),
    ],
)
def test_what_the_last_test_tells(test: dict[str, Any], code: str, severity: Severity) -> None:
    """One finding for one fact."""
    findings = found(make_host(upstream_tls=mtls()), **test)
    assert {name: finding.severity for name, finding in findings.items()} == ({code: severity} if code else {})


def test_what_the_lint_says_is_repeated() -> None:
    """In its words; of the certificate for clients it says so."""
    host = make_host(upstream_tls=mtls(), downstream_tls=site(), domains=("other.example.com",))
    late = timezone.now() + datetime.timedelta(days=40000)
    findings = found(host, now=late, success=True)
    assert findings["expired"].severity is Severity.CRITICAL
    assert findings["domain_not_covered"].message.startswith("For clients: ")
