"""What an upstream makes of an identity, from documents of connection tests."""

from typing import Any

import pytest

from hosts.rotation.judging import Verdict, in_short, is_identity_refused, judge


def answered(status: int | None = 200) -> dict[str, Any]:
    http = None if status is None else {"status": status}
    return {"success": True, "http": http, "error": None, "tested_at": "2026-05-01T12:00:00Z"}


def failed(code: str, stage: str = "http") -> dict[str, Any]:
    error = {"code": code, "message": f"{code}.", "cause": "a", "fix": "b", "evidence": {"stage": stage}}
    return {"success": False, "http": None, "error": error, "tested_at": "2026-05-01T12:00:00Z"}


REFUSED = failed("client_certificate_untrusted")


@pytest.mark.parametrize(
    ("now", "then", "verdict", "code"),
    [
        (answered(), answered(), Verdict.ADMITTED, ""),
        (answered(), answered(404), Verdict.ADMITTED, ""),
        (REFUSED, answered(), Verdict.ADMITTED, ""),
        (answered(), REFUSED, Verdict.REFUSED, "client_certificate_untrusted"),
        (answered(), failed("timeout"), Verdict.REFUSED, "timeout"),
        (failed("timeout"), failed("timeout"), Verdict.FAILING, "timeout"),
        (answered(), answered(403), Verdict.REFUSED, "refused_by_status"),
        # The application wants a login of another kind, of whoever comes.
        (answered(401), answered(401), Verdict.ADMITTED, ""),
        (answered(495), answered(495), Verdict.FAILING, "refused_by_status"),
        (None, answered(), Verdict.NOT_TESTED, "not_tested"),
        (answered(), None, Verdict.NOT_TESTED, "not_tested"),
    ],
)
def test_verdicts(now: Any, then: Any, verdict: Verdict, code: str) -> None:
    """Only who gets in is admitted, and of two failures the candidate's is told."""
    assert judge(now, then)[:2] == (verdict, code)


@pytest.mark.parametrize(
    ("document", "is_refused"),
    [
        (answered(), False),
        (answered(401), True),
        (answered(403), False),  # as always there
        (REFUSED, True),
        (failed("connection_closed", "tls"), True),
        (failed("connection_reset", "tcp"), False),
        (failed("timeout"), False),
        (failed("connection_refused", "tcp"), False),
        (failed("unknown_authority", "tls"), False),
    ],
)
def test_a_refusal_is_about_the_identity(document: Any, is_refused: bool) -> None:
    """What keeps everybody out says nothing against it."""
    assert is_identity_refused(document, usual_status=403) is is_refused


def test_what_is_kept() -> None:
    """Without chains and evidence."""
    assert in_short(None) is None
    assert in_short(answered()) == {
        "success": True,
        "tested_at": "2026-05-01T12:00:00Z",
        "http_status": 200,
        "code": "",
        "message": "",
        "cause": "",
        "fix": "",
    }
