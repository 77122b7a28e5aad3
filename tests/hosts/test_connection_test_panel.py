"""connection_test_panel: a result in the order in which a person reads it."""

import datetime
import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from hosts.connection_test_panel import (
    FieldLink,
    FieldProblem,
    age,
    field_link,
    last_test_cell,
    problems_panel,
    results_panel,
    summary,
    verdict,
)
from hosts.models import ConnectionTest, ConnectionTestState
from tests.hosts.connection_examples import CERTIFICATE, NOW, UNKNOWN_AUTHORITY, failure, result
from upstream_tls.tls.result import ProbeResult, ProbeTarget, Stages, as_document

TARGET = ProbeTarget(address="10.0.0.7", port=9443, host_field="orders.internal:9443")


def row(outcome: ProbeResult | None = None, **values: Any) -> ConnectionTest:
    """A test as it is read from the database: done with `outcome`, or else queued."""
    done: dict[str, Any] = {}
    if outcome is not None:
        document = as_document(outcome)
        done = {
            "state": ConnectionTestState.DONE,
            "success": outcome.success,
            "result": {**document, "upstream": {"id": None, **document["upstream"]}},
            "finished_at": NOW,
        }
    base = {"batch": uuid.uuid4(), "address": "10.0.0.7", "port": 9443, "is_of_saved_host": True, "created_at": NOW}
    return ConnectionTest(**{**base, **done, **values})


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (row(), ("info", "Testing")),
        (row(state="running"), ("info", "Testing")),
        (row(state="expired"), ("danger", "Not run")),
        (row(result(TARGET)), ("success", "Works")),
        (row(result(TARGET, verified=False)), ("warning", "Works, not verified")),
        (row(failure(TARGET)), ("danger", "Failed")),
    ],
)
def test_verdicts(test: ConnectionTest, expected: tuple[str, str]) -> None:
    """One look says how it stands."""
    assert verdict(test) == expected


def test_a_failure_says_what_why_and_where_to_fix_it() -> None:
    """Message, code, cause, fix with a link to the field, the failed stage, the chain, and the evidence."""
    html = results_panel([row(failure(TARGET, stages=Stages(dns_ms=0, tcp_ms=1)))])
    assert "x509: certificate signed by unknown authority" in html
    assert "<code>unknown_authority</code>" in html
    assert "No configured CA has issued" in html
    assert 'href="#id_ca_certificate" data-ct-field="id_ca_certificate">Go to CA Certificate</a>' in html
    assert html.count("ct-stage-failed") == 1
    assert html.count("not reached") == 1
    assert "&quot;verify_code&quot;: 20" in html


def test_a_success_shows_what_was_negotiated() -> None:
    """Version, cipher, certificate, accepted CAs, HTTP status, stages and chain, and no cause or fix."""
    html = results_panel([row(result(TARGET))])
    for shown in ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "requested by the upstream, sent", "CN=Orders CA", "status 200"):
        assert shown in html
    for shown in ("12 ms", CERTIFICATE.fingerprint_sha256, "2026-05-31 12:30", "DNS:orders.internal", "EC P-256"):
        assert shown in html
    assert "Fix" not in html


def test_a_refusal_in_the_answer_fails_the_last_stage() -> None:
    """As nginx does it: the handshake was fine, the answer is 400."""
    refused = replace(UNKNOWN_AUTHORITY, evidence={"stage": "http"})
    outcome = result(TARGET, success=False, error=refused, http_status=400)
    html = results_panel([row(outcome)])
    assert html.count("ct-stage-failed") == 1
    assert "failed, 3 ms" in html


def test_what_strangers_wrote_is_escaped() -> None:
    """Names in certificates are theirs to choose."""
    html = results_panel([row(result(TARGET))])
    assert "CN=Orders &lt;CA&gt;" in html


def test_certificates_whose_times_cannot_be_read_are_shown_all_the_same() -> None:
    """A broken certificate may be the very reason."""
    broken = replace(CERTIFICATE, not_before=None, not_after=None)
    assert "(unreadable) to (unreadable)" in results_panel([row(failure(TARGET, chain=(broken,)))])


def test_a_test_without_a_result_says_why() -> None:
    """Nobody took it, or nobody finished it."""
    assert "No Celery worker took the test" in results_panel([row(state="expired")])
    assert "did not finish it" in results_panel([row(state="expired", started_at=NOW)])


def test_doubtful_results_say_so() -> None:
    """Of values that were not saved, of a host that changed since, and guesses."""
    assert "values that were not saved" in results_panel([row(result(TARGET), is_of_saved_host=False)])
    assert "changed since" in results_panel([row(result(TARGET))], is_outdated=True)
    assert "Verification is off" in results_panel([row(result(TARGET, warnings=("Verification is off.",)))])


def test_a_long_stage_does_not_hide_the_short_ones() -> None:
    """Widths grow with the logarithm: five seconds are not a thousand times five milliseconds."""
    html = results_panel([row(failure(TARGET, stages=Stages(dns_ms=1, tcp_ms=2, tls_ms=5000)))])
    assert 'style="flex-grow: 20"' in html
    assert 'style="flex-grow: 133"' in html


def test_problems_link_to_their_fields() -> None:
    """What concerns no field stands alone."""
    html = problems_panel(
        [
            FieldProblem(message="Not PEM <x>.", field=field_link("ca_certificate")),
            FieldProblem(message="Row.", field=None),
        ]
    )
    assert ">CA Certificate</a>: Not PEM &lt;x&gt;." in html
    assert "Row." in html


def test_fields_of_the_api_are_found_in_the_editor() -> None:
    """By the name that the editor gives them; unknown ones have no link."""
    assert field_link("enabled") == FieldLink(label="Enable mTLS", control_id="id_tls_enabled")
    assert field_link("preserve_host") == FieldLink(label="Preserve Host Header", control_id="id_preserve_host")
    assert field_link("upstreams") is None


def test_the_summary_names_each_upstream() -> None:
    """For ears."""
    assert summary([row(result(TARGET)), row(failure(TARGET), address="fd00::1")]) == (
        "10.0.0.7:9443: Works. [fd00::1]:9443: Failed."
    )


def test_a_list_shows_the_outcome_and_its_age() -> None:
    """OK or the code; never when there was no test."""
    assert last_test_cell(None) == "never"
    assert ">OK<" in last_test_cell(row(result(TARGET)))
    assert ">timeout<" in last_test_cell(row(failure(TARGET), code="timeout"))


def test_ages_are_for_people() -> None:
    """Seconds do not matter, nor do the minutes of an hour."""
    now = timezone.now()
    assert age(row()) == ""
    assert age(row(result(TARGET), finished_at=now - datetime.timedelta(seconds=40))) == "just now"
    hours = datetime.timedelta(hours=2, minutes=7)
    assert age(row(result(TARGET), finished_at=now - hours)).replace("\xa0", " ") == "2 hours ago"


def test_the_time_is_that_of_the_result() -> None:
    """Relative for reading, absolute on hover."""
    html = results_panel([row(result(TARGET), finished_at=NOW - datetime.timedelta(hours=1))])
    assert 'title="2026-05-01 11:30:00 UTC"' in html
