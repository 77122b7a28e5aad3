"""What a person should know beside the outcome of a connection test."""

import datetime

import pytest

from upstream_tls.tls.cautions import cautions
from upstream_tls.tls.diagnosis import diagnose
from upstream_tls.tls.evidence import ClientIdentity, Evidence, Stage

OURS = ClientIdentity(
    subject="CN=aegis", issuer="CN=CA", not_after=datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC), is_acceptable=True
)


def seen(**facts: object) -> Evidence:
    values: dict[str, object] = {"stage": Stage.HTTP, "http_status": 200, "is_established": True, **facts}
    return Evidence(**values)  # type: ignore[arg-type]


def test_plain_success_has_none() -> None:
    """A good test with a certificate that was asked for."""
    evidence = seen(client=OURS, client_certificate_requested=True, client_certificate_sent=True)
    assert cautions(evidence, is_skipped=False, error=None) == ()


@pytest.mark.parametrize("status", [400, 404])
def test_status_of_a_wrong_name_points_at_the_host_field(status: int) -> None:
    """The documentation's last row."""
    (caution,) = cautions(seen(http_status=status), is_skipped=False, error=None)
    assert "Preserve Host Header is off" in caution


def test_certificate_that_was_not_sent_is_told() -> None:
    """The upstream asked, and let us in without."""
    (caution,) = cautions(seen(client=OURS, client_certificate_requested=True), is_skipped=False, error=None)
    assert "was not sent" in caution


def test_failure_leaves_only_what_concerns_verification() -> None:
    """Its own cause says the rest."""
    evidence = seen(http_status=None, peer_closed=True, is_skipped=True, verify_code=20)
    texts = cautions(evidence, is_skipped=True, error=diagnose(evidence))
    assert len(texts) == 2
    assert texts[0].startswith("Verification is off")
    assert "x509: certificate signed by unknown authority" in texts[1]
