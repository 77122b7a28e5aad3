"""verdict: what an attempt amounts to, for tests and checks alike."""

import datetime

import pytest

from tests.support.certificates import Authority
from upstream_tls.tls.answer import Answer
from upstream_tls.tls.context import build_context
from upstream_tls.tls.conversation import Progress
from upstream_tls.tls.evidence import HTTPRefusal, Stage
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.tls.verdict import evidence_without_tls, is_answered, own_expiry, without_certificate

CA = Authority("Orders CA")
LEAF = CA.client("orders client")
SPEC = UpstreamTLSSpec(client_chain_pem=LEAF.chain_pem.encode(), client_key_pem=LEAF.key_pem.encode())


def progress(content: bytes | None, *, is_broken: bool = False) -> Progress:
    answer = None
    if content is not None:
        answer = Answer()
        answer.feed(content)
    return Progress(address="10.0.0.7:80", stage=Stage.HTTP, answer=answer, is_broken=is_broken)


@pytest.mark.parametrize(
    ("content", "is_broken", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", False, True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, False),
        (b"HTTP/1.1 421 Misdirected Request\r\n\r\n", False, False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nNo required SSL certificate was sent", False, False),
        (None, False, False),
    ],
)
def test_an_answer_is_any_status_but_a_refusal(content: bytes | None, is_broken: bool, expected: bool) -> None:
    """And nothing that broke off."""
    assert is_answered(progress(content, is_broken=is_broken)) == expected


def test_our_own_certificate_is_over_after_its_last_day() -> None:
    """Without a certificate nothing is."""
    context = build_context(SPEC)
    now = datetime.datetime.now(datetime.UTC)
    assert own_expiry(context, now) is None
    found = own_expiry(context, now + datetime.timedelta(days=36500))
    assert found is not None
    assert found.code == "client_certificate_not_after"
    assert own_expiry(build_context(without_certificate(SPEC)), now + datetime.timedelta(days=36500)) is None


def test_evidence_without_tls_is_that_of_the_transport() -> None:
    """Address, stage and status; the name that was looked up while there was no address yet."""
    record = progress(b"HTTP/1.1 400 Bad Request\r\n\r\nThe SSL certificate error")
    evidence = evidence_without_tls(record, "orders.internal", timeout_s=5)
    assert (evidence.address, evidence.stage, evidence.http_status) == ("10.0.0.7:80", Stage.HTTP, 400)
    assert evidence.http_refusal is HTTPRefusal.NOT_ACCEPTED
    record.stage = Stage.DNS
    assert evidence_without_tls(record, "orders.internal", timeout_s=5).address == "orders.internal"
