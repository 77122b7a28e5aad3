"""From evidence to a stable code and a message."""

from typing import Any

import pytest

from upstream_tls.tls.diagnosis import (
    ALERT_CODES,
    ALERT_TEXTS,
    VERIFY_CODES,
    Diagnosis,
    HandshakeEvidence,
    NameProblem,
    diagnose_handshake,
)


def diagnose(**evidence: Any) -> Diagnosis:
    return diagnose_handshake(HandshakeEvidence(**evidence))


@pytest.mark.parametrize(
    ("verify_code", "code"),
    [
        (3, "crl_unavailable"),
        (9, "not_yet_valid"),
        (10, "expired"),
        (12, "crl_expired"),
        (18, "self_signed"),
        (19, "unknown_authority"),
        (20, "unknown_authority"),
        (21, "unknown_authority"),
        (23, "revoked"),
        (26, "wrong_purpose"),
        (66, "weak_key"),
        (67, "weak_key"),
        (68, "weak_signature"),
    ],
)
def test_verify_codes(verify_code: int, code: str) -> None:
    """Numbers decide, and the message is Go's."""
    assert diagnose(verify_code=verify_code).code == code
    assert VERIFY_CODES[verify_code].message.startswith("x509: ")


def test_other_verify_codes_are_told_by_number() -> None:
    """Nothing is lost that is not in the table."""
    assert diagnose(verify_code=24) == Diagnosis(
        "chain_invalid", "x509: certificate chain is invalid (verify error 24)"
    )


@pytest.mark.parametrize("alert", sorted(ALERT_TEXTS))
def test_alerts_of_the_upstream_are_in_gos_words(alert: int) -> None:
    """The direction is in the message, the code says whom it concerns."""
    assert diagnose(alert_read=alert) == Diagnosis(
        ALERT_CODES.get(alert, "tls_alert"), f"remote error: tls: {ALERT_TEXTS[alert]}"
    )


def test_unknown_alert() -> None:
    """Told by number."""
    assert diagnose(alert_read=200) == Diagnosis("tls_alert", "remote error: tls: alert(200)")


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (
            {"name_problem": NameProblem.NAME_MISMATCH, "names": ("a", "b"), "expected_name": "h"},
            Diagnosis("name_mismatch", "x509: certificate is valid for a, b, not h"),
        ),
        (
            {"name_problem": NameProblem.IP_MISMATCH, "names": ("a",), "expected_name": "10.0.0.1"},
            Diagnosis(
                "ip_mismatch",
                "x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
            ),
        ),
        (
            {"name_problem": NameProblem.NO_SUBJECT_ALT_NAME},
            Diagnosis("no_subject_alt_name", "x509: certificate relies on legacy Common Name field, use SANs instead"),
        ),
        ({"looks_like_tls": False}, Diagnosis("not_tls", "tls: first record does not look like a TLS handshake")),
        ({"peer_closed": True}, Diagnosis("connection_closed", "EOF")),
        (
            {"alert_written": 70},
            Diagnosis("protocol_version", "tls: server selected unsupported protocol version"),
        ),
        ({}, Diagnosis("handshake_failure", "tls: handshake failure")),
    ],
)
def test_other_evidence(evidence: dict[str, Any], expected: Diagnosis) -> None:
    """Codes and messages of docs/diagnosis.md."""
    assert diagnose(**evidence) == expected


def test_what_we_refused_comes_first() -> None:
    """The upstream's alert and its closing only follow from our refusal."""
    later = {"alert_read": 42, "peer_closed": True, "alert_written": 48}
    assert diagnose(verify_code=20, **later).code == "unknown_authority"
    assert diagnose(name_problem=NameProblem.NAME_MISMATCH, **later).code == "name_mismatch"
    assert diagnose(alert_read=116, peer_closed=True).code == "client_certificate_required"
