"""One check of one upstream, from beginning to verdict.

Laws of this module:
- The verdict is that of a connection test (`upstream_tls.tls.verdict`, `upstream_tls.tls.diagnosis`), and then that of
  the expectations of the check: status and body.
- `timeout_s` bounds everything together. Never raises for what the network or the peer does.
- A check that ended late because this process was held up says nothing about the upstream: it has no verdict.
"""

import asyncio
import datetime
from concurrent.futures import Executor
from dataclasses import dataclass, field

from cryptography import x509

from healthchecks.answer import CheckedAnswer, Request
from healthchecks.attempt import attempt
from upstream_tls.tls.context import ClientContext
from upstream_tls.tls.conversation import Conversation, Deadline, Question, TLSConversation
from upstream_tls.tls.diagnosis import Diagnosis, diagnose, diagnose_configuration
from upstream_tls.tls.material import SpecProblem
from upstream_tls.tls.verdict import evidence_of, evidence_without_tls, is_answered

# How much later than its deadline a check may end before this process, not the upstream, was too slow.
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to check. `request` None: only connect. `context` None: without TLS. `problem`: why it cannot be tried."""

    address: str
    port: int
    timeout_s: float
    request: Request | None = None
    context: ClientContext | None = None
    problem: Diagnosis | None = None
    known_certificates: tuple[x509.Certificate, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. `code` is empty when all is well; `status` is that of the answer, if there was one."""

    at: datetime.datetime
    is_ok: bool
    duration_ms: int
    status: int | None = None
    code: str = ""
    message: str = ""


async def check(job: Job, *, lookups: Executor) -> Outcome | None:
    """Tries once. None: this process was held up, so nothing is known."""
    loop = asyncio.get_running_loop()
    begun, at = loop.time(), datetime.datetime.now(datetime.UTC)
    deadline = Deadline(job.timeout_s, clock=loop.time)
    try:
        error, answer = job.problem, None
        if error is None:
            error, answer = await _tried(job, deadline, lookups)
    except SpecProblem as problem:
        error, answer = diagnose_configuration(problem.code, problem.message, problem.field), None
    ended = loop.time()
    if error is not None and error.code == "timeout" and ended > deadline.at + _PATIENCE_S:
        return None
    refusal = error or (answer.verdict() if answer is not None else None)
    return Outcome(
        at=at,
        is_ok=refusal is None,
        duration_ms=round((ended - begun) * 1000),
        status=answer.status if answer is not None else None,
        code=refusal.code if refusal is not None else "",
        message=refusal.message if refusal is not None else "",
    )


async def _tried(job: Job, deadline: Deadline, lookups: Executor) -> tuple[Diagnosis | None, CheckedAnswer | None]:
    answer: CheckedAnswer | None = None
    question: Question | None = None
    if job.request is not None:
        answer = CheckedAnswer(job.request)
        question = Question(request=job.request.as_bytes(), answer=answer)
    if job.context is not None and question is not None:
        return await _tried_tls(job, job.context, question, deadline, lookups), answer
    conversation = Conversation(job.address, job.port, question, deadline)
    await attempt(conversation, lookups=lookups)
    record = conversation.record
    is_good = is_answered(record) if question is not None else not record.is_broken
    return None if is_good else diagnose(evidence_without_tls(record, job.address, timeout_s=job.timeout_s)), answer


async def _tried_tls(
    job: Job, context: ClientContext, question: Question, deadline: Deadline, lookups: Executor
) -> Diagnosis | None:
    # A connection test refuses to present a certificate of ours that is over. The traffic presents it and lets the
    # upstream decide, and so does a check: it must not take an upstream out that still serves.
    conversation = TLSConversation(context, job.address, job.port, question, deadline)
    await attempt(conversation, lookups=lookups)
    record = conversation.record
    if is_answered(record):
        return None
    # A connection test asks a silent upstream again without our certificate. That changes how sure the diagnosis is and
    # never its code, so a check does without.
    evidence = evidence_of(context, record, job.address, timeout_s=job.timeout_s, known=job.known_certificates)
    return diagnose(evidence)
