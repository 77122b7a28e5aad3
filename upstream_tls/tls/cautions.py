"""What a person should know although a connection test succeeded, or beside its failure.

Laws of this module: pure; sentences for operators.
"""

from collections.abc import Iterator

from upstream_tls.tls.diagnosis import Diagnosis, diagnose_certificate
from upstream_tls.tls.evidence import Evidence

# Answers that an upstream gives to a name which it does not serve.
_STATUSES_OF_A_WRONG_NAME = frozenset((400, 404))


def cautions(evidence: Evidence, *, is_skipped: bool, error: Diagnosis | None) -> tuple[str, ...]:
    """The warnings of one test. `is_skipped`: the upstream's certificate is not verified."""
    return (*_about_verification(evidence, is_skipped), *(() if error else _about_success(evidence)))


def _about_verification(evidence: Evidence, is_skipped: bool) -> Iterator[str]:
    if not is_skipped:
        return
    yield "Verification is off: whoever answers at this address is believed to be the upstream."
    if evidence.is_established and (verdict := diagnose_certificate(evidence)):
        yield f"With verification on, this test would fail: {verdict.message}."


def _about_success(evidence: Evidence) -> Iterator[str]:
    if evidence.client is not None and not evidence.client_certificate_requested:
        yield (
            "A client certificate is configured, and the upstream did not ask for one: it lets in everybody who reaches"
            " it."
        )
    if evidence.client is not None and evidence.client_certificate_requested and not evidence.client_certificate_sent:
        yield "The upstream asked for a client certificate. Ours was not sent: its key suits none of its algorithms."
    if evidence.http_status in _STATUSES_OF_A_WRONG_NAME:
        yield (
            f"The TLS connection is good, and the upstream answered HTTP {evidence.http_status}. If this is not what it"
            " should answer, make sure that Preserve Host Header is off in the host's settings."
        )
