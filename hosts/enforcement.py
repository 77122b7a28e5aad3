"""Whether an upstream really refuses strangers: the host's own certificate must get in, everybody else must not.

Laws of this module:
- Nothing is concluded unless the host itself gets in: an upstream that is down refuses everybody.
- Each attempt is a connection test like any other (`hosts.connection_tests`): same builder, same worker, same limits.
- Attempts as a stranger belong to no host, so that they never show as the host's last test.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.keyring import SecretUnreadable
from hosts.audit import HOSTS
from hosts.connection_tests import candidate_configuration, request_tests, results_of, unattached, wait_for
from hosts.models import Host, Upstream
from localca.models import Purpose
from localca.orders import Order
from localca.selectors import active_authority
from localca.services import IssuanceError, issue_certificate
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.tls.chain import is_issued_by
from upstream_tls.tls.credentials import parse_chain

logger = logging.getLogger(__name__)

# What the API answers for one connection test (docs/upstream-mtls.md).
Document: TypeAlias = dict[str, Any]

OTHER_COMMON_NAME = "Aegis enforcement proof"

# What the audit log says: that it was tried, whatever came of it.
PROVED = "proved"

# By these an upstream refuses a client over HTTP. 495 and 496 are nginx's own, for a bad and for no certificate.
REFUSING_STATUSES = frozenset((401, 403, 495, 496))

# Failures that mean "not you" when the same upstream has just let the host in. A silent close is Node's way.
REFUSING_CODES = frozenset(
    (
        "client_certificate_required",
        "client_certificate_untrusted",
        "client_certificate_bad",
        "client_certificate_expired",
        "client_certificate_revoked",
        "client_certificate_wrong_purpose",
        "client_certificate_rejected",
        "handshake_failure",
        "tls_alert",
        "connection_closed",
        "connection_reset",
    )
)


class NothingToProve(AegisError):
    """The host presents no certificate."""


class Presented(StrEnum):
    """As whom an attempt comes."""

    OWN = "own"
    NONE = "none"
    OTHER = "other"


class Outcome(StrEnum):
    """What the upstream made of an attempt."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    UNCLEAR = "unclear"


class Verdict(StrEnum):
    """ENFORCED: who has no certificate of the trusted CA is refused."""

    ENFORCED = "enforced"
    NOT_ENFORCED = "not_enforced"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. `code` and `message` are those of the failed test, empty when the upstream answered `http_status`."""

    presented: Presented
    outcome: Outcome
    http_status: int | None
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementResult:
    """The verdict with its reason. `other_refused`: whether another certificate of the same CA is; None: not known."""

    verdict: Verdict
    explanation: str
    other_refused: bool | None
    attempts: tuple[Attempt, ...]


def prove_enforcement(*, host: Host, upstream: Upstream, user: Actor | None, may_issue: bool) -> EnforcementResult:
    """Tries one upstream as the host, as nobody and, when it pays, under another certificate of the same CA.

    `may_issue`: the local CA may issue that other certificate, whose key is forgotten at once. Takes as long as two
    connection tests at most. Raises NothingToProve, `connection_tests.NotRun`, SecretUnreadable.
    """
    configuration = UpstreamTLSConfiguration.objects.filter(host=host).first()
    if configuration is None or not configuration.enabled:
        raise NothingToProve("client_certificate_missing", "mTLS is off: this host presents no certificate to anybody.")
    record(user=user, action=PROVED, target_type=HOSTS.target_type, target_id=host.pk, target_name=host.name)
    nobody = candidate_configuration(host, UpstreamTLSChanges(enabled=False))
    as_host = _request(host, host, upstream, configuration, user)
    as_nobody = _request(unattached(host), host, upstream, nobody, user)
    own, none = _result(as_host), _result(as_nobody)
    result = judge(own, none)
    if result.verdict is not Verdict.ENFORCED or not may_issue:
        return result
    stranger = _stranger(host, configuration, user)
    return judge(own, none, _result(_request(unattached(host), host, upstream, stranger, user))) if stranger else result


def judge(own: Document, none: Document, other: Document | None = None) -> EnforcementResult:
    """The verdict on the documents of the attempts. Pure."""
    own_status = _status(own)
    attempts = [_attempt(Presented.OWN, own, own_status), _attempt(Presented.NONE, none, own_status)]
    if other is not None:
        attempts.append(_attempt(Presented.OTHER, other, own_status))
    verdict, explanation = _verdict(own, attempts[:2])
    other_refused = None
    if verdict is Verdict.ENFORCED:
        other_refused, remark = _of_other(attempts[2:])
        explanation = f"{explanation} {remark}"
    return EnforcementResult(
        verdict=verdict, explanation=explanation, other_refused=other_refused, attempts=tuple(attempts)
    )


def _verdict(own: Document, attempts: Sequence[Attempt]) -> tuple[Verdict, str]:
    as_host, as_nobody = attempts
    if not own["success"]:
        return (
            Verdict.INCONCLUSIVE,
            f"The host itself does not get in ({as_host.message}): press Test Connection first.",
        )
    if as_host.http_status in REFUSING_STATUSES:
        return (
            Verdict.INCONCLUSIVE,
            f"The upstream answers {as_host.http_status} to the host as well: its own certificate is refused, or "
            "the application wants a login of another kind.",
        )
    match as_nobody.outcome:
        case Outcome.REFUSED:
            return Verdict.ENFORCED, f"Without a client certificate the upstream refuses ({_reason(as_nobody)})."
        case Outcome.ADMITTED:
            return (
                Verdict.NOT_ENFORCED,
                f"The upstream answers {as_nobody.http_status} without a client certificate, as it does with it. "
                "Whoever reaches its port gets in.",
            )
    return (
        Verdict.INCONCLUSIVE,
        f"Without a client certificate it cannot be told from the answer ({_reason(as_nobody)}).",
    )


def _of_other(attempts: Sequence[Attempt]) -> tuple[bool | None, str]:
    """Whether another certificate of the same CA is refused, and a sentence about it."""
    if not attempts:
        return None, "Another certificate of the same CA was not tried."
    match attempts[0].outcome:
        case Outcome.REFUSED:
            return True, f"Another certificate of the same CA is refused as well ({_reason(attempts[0])})."
        case Outcome.ADMITTED:
            return False, "But another certificate of the same CA gets in: the upstream does not tell its hosts apart."
    return None, f"For another certificate of the same CA it cannot be told ({_reason(attempts[0])})."


def _attempt(presented: Presented, document: Document, own_status: int | None) -> Attempt:
    error = document["error"] or {"code": "", "message": ""}
    return Attempt(
        presented=presented,
        outcome=_outcome(document, own_status),
        http_status=_status(document),
        code=error["code"],
        message=error["message"],
    )


def _outcome(document: Document, own_status: int | None) -> Outcome:
    if not document["success"]:
        return Outcome.REFUSED if document["error"]["code"] in REFUSING_CODES else Outcome.UNCLEAR
    status = _status(document)
    if status == own_status:
        return Outcome.ADMITTED
    # Another status is a refusal when it says so; a redirect to a login page, say, is the application's business.
    return Outcome.REFUSED if status in REFUSING_STATUSES else Outcome.UNCLEAR


def _status(document: Document) -> int | None:
    return document["http"]["status"] if document["http"] else None


def _reason(attempt: Attempt) -> str:
    return attempt.message or f"HTTP {attempt.http_status}"


def _request(
    asking: Host,
    host: Host,
    upstream: Upstream,
    configuration: UpstreamTLSConfiguration,
    user: Actor | None,
) -> uuid.UUID:
    domains = [domain.name for domain in host.domains.all()]
    return request_tests(host=asking, domains=domains, upstreams=[upstream], configuration=configuration, user=user)


def _result(batch: uuid.UUID) -> Document:
    return dict(results_of(wait_for(batch))[0])


def _stranger(
    host: Host, configuration: UpstreamTLSConfiguration, user: Actor | None
) -> UpstreamTLSConfiguration | None:
    """The host's configuration with another certificate of the local CA; None when its own is not from there."""
    authority = active_authority()
    top = parse_chain(configuration.client_certificate.encode("ascii"))[-1]
    # Who trusts the host's root must trust the other certificate as well, whichever intermediate issued either.
    if authority is None or not is_issued_by(top, authority.root.certificate):
        return None
    try:
        order = Order(
            purpose=Purpose.CLIENT,
            common_name=OTHER_COMMON_NAME,
            validity_days=1,  # forgotten at once, so it must not stand in the way of retiring its CA
            issued_for=f"proof of enforcement: {host.name}",
        )
        bundle = issue_certificate(order=order, user=user)
    except (IssuanceError, SecretUnreadable, ValidationError) as error:
        logger.warning("no other certificate for a proof of enforcement: %s", error)
        return None
    return candidate_configuration(
        host, UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode("ascii"))
    )
