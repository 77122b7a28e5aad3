"""Whether an upstream says in HTTP that it does not want us, behind a handshake that was fine, as nginx does.

Laws of this module:
- It is what a connection test and a health check look for (`upstream_tls.tls.answer`), with the same code.
- It only looks: the client gets the upstream's answer as it is.
"""

from proxyworker.errors import Phase, UpstreamError
from upstream_tls.tls.answer import MISDIRECTED, Answer
from upstream_tls.tls.diagnosis import diagnose
from upstream_tls.tls.evidence import Evidence, Stage

# nginx refuses a client certificate with a page of status 400.
MAY_REFUSE = frozenset((400, MISDIRECTED))


class RefusalWatch:
    """Reads along with one answer, beginning with its head, for as long as it may be a refusal."""

    __slots__ = ("_answer",)

    def __init__(self, head: bytes) -> None:
        self._answer = Answer()
        self._answer.feed(head)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of it."""
        return self._answer.is_complete

    def feed(self, data: bytes) -> UpstreamError | None:
        """More of the body. What the operator is to be told, as soon as that is clear."""
        answer = self._answer
        if not answer.is_complete:
            answer.feed(data)
        if not answer.is_refusal:
            return None
        diagnosis = diagnose(
            Evidence(stage=Stage.HTTP, is_established=True, http_status=answer.status, http_refusal=answer.refusal)
        )
        return UpstreamError(phase=Phase.HEAD, code=diagnosis.code, reason=diagnosis.message)
