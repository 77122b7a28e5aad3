"""Results of tests in plain words, with what puts them right."""

import dataclasses
from typing import Any

import pytest

from hosts.models import ConnectionTest, ConnectionTestState
from hosts.wizard.findings import _HEADLINES, Finding, anchor_in, demands_certificate, finding_of
from tests.hosts.connection_examples import CERTIFICATE, UNKNOWN_AUTHORITY, failure, result
from tests.support.certificates import Authority
from upstream_tls.tls.remedies import REMEDIES
from upstream_tls.tls.result import ProbeResult, ProbeTarget, TLSFacts, as_document

TARGET = ProbeTarget(address="10.0.0.7", port=9443, host_field="orders")
CA = Authority("Upstream CA")


def found(outcome: ProbeResult | None, **changes: Any) -> Finding:
    state = ConnectionTestState.DONE if outcome else ConnectionTestState.RUNNING
    document = as_document(outcome) if outcome else None
    values = {"state": state, "success": outcome.success if outcome else None, "result": document, **changes}
    return finding_of(ConnectionTest(address="10.0.0.7", port=9443, **values))


def failed(code: str, **changes: Any) -> ProbeResult:
    return failure(TARGET, error=dataclasses.replace(UNKNOWN_AUTHORITY, code=code), **changes)


def tls(**changes: Any) -> TLSFacts:
    facts = result(TARGET).tls
    assert facts is not None
    return dataclasses.replace(facts, **changes)


def test_every_headline_is_of_a_code_that_there_is() -> None:
    """A code that was renamed would lose its words."""
    assert set(_HEADLINES) <= set(REMEDIES)


@pytest.mark.parametrize(
    ("facts", "headline"),
    [
        ({}, "It takes this host's client certificate, and answers (HTTP 200)."),
        ({"client_certificate_sent": False}, "It asks for a client certificate, but answers without one as well"),
        (
            {"client_certificate_sent": False, "client_certificate_requested": False},
            "It asks for no client certificate: whoever reaches it gets an answer",
        ),
    ],
)
def test_who_is_let_in(facts: dict[str, Any], headline: str) -> None:
    """By what was asked for, and what was sent."""
    finding = found(result(TARGET, tls=tls(**facts)))
    assert finding.headline.startswith(headline)
    assert (finding.kind, finding.accepted_cas) == ("success", ("CN=Orders CA",))


def test_a_demand_is_what_a_check_is_there_to_find_out() -> None:
    """No fault of anybody's, unless a certificate was sent."""
    demand = found(failed("client_certificate_required", tls=tls(client_certificate_sent=False)))
    assert (demand.kind, demand.headline) == ("info", "It demands a client certificate.")
    assert demands_certificate(demand)
    assert found(failed("client_certificate_required")).kind == "danger"
    assert found(failed("client_certificate_required", tls=None)).kind == "info"


def test_an_unknown_certificate_is_offered_by_its_fingerprint() -> None:
    """What was not offered is not found, nor is what cannot be read offered."""
    finding = found(failed("unknown_authority", offered_anchor_pem=CA.pem))
    assert finding.anchor is not None
    assert (finding.anchor.facts.subject, finding.anchor.pem) == ("CN=Upstream CA", CA.pem)
    assert anchor_in([found(result(TARGET)), finding], finding.anchor.facts.fingerprint_sha256) == finding.anchor
    assert anchor_in([finding], "00") is None
    for pem in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        assert found(failed("unknown_authority", offered_anchor_pem=pem)).anchor is None
    assert found(None, state=ConnectionTestState.DONE, result={**as_document(result(TARGET))}).anchor is None


def test_a_strangers_name_is_safe_to_print() -> None:
    """What is compared on the page must not turn the page around."""
    finding = found(failed("self_signed", offered_anchor_pem=Authority("evil\u202e\r\nCA").pem))
    assert finding.anchor is not None
    assert finding.anchor.facts.subject.isprintable()


def test_names_that_can_be_asked_for_are_proposed() -> None:
    """Neither wildcards nor addresses; a result of an older version has no more than it has."""
    names = ("IP:10.0.0.7", "DNS:*.internal", "DNS:orders.internal", "URI:spiffe://x/y")
    chain = (dataclasses.replace(CERTIFICATE, subject_alt_names=names),)
    finding = found(failed("name_mismatch", chain=chain))
    assert (finding.is_name, finding.server_names) == (True, ("orders.internal",))
    assert found(failed("unknown_authority", chain=chain)).server_names == ()
    old = as_document(failed("self_signed"))
    del old["offered_anchor_pem"]
    assert found(failed("self_signed"), result=old).anchor is None


@pytest.mark.parametrize(
    ("code", "is_plain", "is_address"),
    [("not_tls", True, True), ("connection_refused", False, True), ("expired", False, False)],
)
def test_where_the_upstream_itself_is_wrong(code: str, is_plain: bool, is_address: bool) -> None:
    """It has cause and fix, and leads to its address."""
    finding = found(failed(code))
    assert (finding.is_plain, finding.is_address) == (is_plain, is_address)
    assert (finding.code, finding.cause, finding.fix) == (code, UNKNOWN_AUTHORITY.cause, UNKNOWN_AUTHORITY.fix)


def test_a_test_without_result_says_why() -> None:
    """It runs, or nobody took it."""
    assert found(None).headline == "The test is running."
    assert "No Celery worker took the test." in found(None, state=ConnectionTestState.EXPIRED).headline
