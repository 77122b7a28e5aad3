"""The document of a result whose parts are missing."""

import datetime

from upstream_tls.tls.peer import PresentedCertificate
from upstream_tls.tls.result import ProbeResult, ProbeTarget, Stages, as_document


def test_what_was_not_reached_is_null() -> None:
    """Every key is there."""
    result = ProbeResult(
        target=ProbeTarget(address="a.test", port=1, host_field="a"),
        server_name="a.test",
        success=False,
        verified=False,
        tested_at=datetime.datetime(2026, 5, 1, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        duration_ms=3,
        timeout_s=5.0,
        stages=Stages(dns_ms=3),
        chain=(
            PresentedCertificate(
                subject="(unreadable)",
                issuer="(unreadable)",
                serial_number="",
                not_before=None,
                not_after=None,
                subject_alt_names=(),
                fingerprint_sha256="00",
                key_type="(unreadable)",
                is_ca=False,
            ),
        ),
    )
    document = as_document(result)
    assert document["tested_at"] == "2026-05-01T12:00:00Z"
    assert document["stages"] == {"dns_ms": 3, "tcp_ms": None, "tls_ms": None, "first_byte_ms": None}
    assert (document["tls"], document["http"], document["error"]) == (None, None, None)
    assert document["chain"][0]["not_after"] is None
