"""What an upstream makes of the candidate, and of the certificate in use after a promotion.

Laws of this module: pure; it reads documents of connection tests (docs/upstream-mtls.md) and decides. Silence and
failures before TLS never speak against an identity, and never for one.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from hosts.enforcement import REFUSING_CODES, REFUSING_STATUSES

Document: TypeAlias = dict[str, Any]

# What traffic meets and what can mean nothing else. A connection that is cut off may have another reason.
TRAFFIC_CODE_PREFIX = "client_certificate_"

# The application's own login, when it answers the same whoever comes; 495 and 496 are nginx's, about certificates.
_LOGIN_STATUSES = frozenset((401, 403))
_STAGES_BEFORE_TLS = frozenset(("dns", "tcp"))


class Verdict(StrEnum):
    """ADMITTED: the candidate gets in. REFUSED: it does not, what is in use does. FAILING: neither does."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    FAILING = "failing"
    NOT_TESTED = "not_tested"


def judge(now: Document | None, then: Document | None) -> tuple[Verdict, str, str]:
    """Verdict, code and message on one upstream, with what is in use and with the candidate. None: no result."""
    if now is None or then is None:
        return Verdict.NOT_TESTED, "not_tested", "The probe did not end in time."
    if is_admitted(then, usual_status=_status(now)):
        return Verdict.ADMITTED, "", ""
    code, message = reason(then)
    verdict = Verdict.REFUSED if is_admitted(now, usual_status=_status(then)) else Verdict.FAILING
    return verdict, code, message


def is_admitted(document: Document, *, usual_status: int | None) -> bool:
    """Whether who came was let in. `usual_status` is what others get, or what it got before."""
    if not document["success"]:
        return False
    status = _status(document)
    return status not in REFUSING_STATUSES or (status in _LOGIN_STATUSES and status == usual_status)


def is_identity_refused(document: Document, *, usual_status: int | None) -> bool:
    """Whether the upstream said "not you", which a timeout or a refused connection does not."""
    if document["success"]:
        return not is_admitted(document, usual_status=usual_status)
    error = document["error"]
    return error["code"] in REFUSING_CODES and error["evidence"].get("stage") not in _STAGES_BEFORE_TLS


def reason(document: Document) -> tuple[str, str]:
    """Code and message of a failure."""
    if document["success"]:
        return "refused_by_status", f"TLS works, but the upstream answers HTTP {_status(document)}."
    return document["error"]["code"], document["error"]["message"]


def in_short(document: Document | None) -> Document | None:
    """What is kept of a document: a rotation has two for each of up to a hundred upstreams."""
    if document is None:
        return None
    error: Mapping[str, str] = document["error"] or {}
    return {
        "success": document["success"],
        "tested_at": document["tested_at"],
        "http_status": _status(document),
        **{name: error.get(name, "") for name in ("code", "message", "cause", "fix")},
    }


def _status(document: Document) -> int | None:
    return document["http"]["status"] if document["http"] else None
