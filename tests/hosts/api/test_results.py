"""The documents of tests, proofs and set-ups are described as they are made."""

import json
from dataclasses import asdict, fields
from typing import Any

import pytest
from rest_framework import serializers

from hosts.api import results
from hosts.enforcement import Attempt, EnforcementResult, judge
from hosts.snippets.identity import UpstreamFile
from hosts.snippets.setup import Snippet
from tests.hosts.connection_examples import failure, result
from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.tls.evidence import Evidence, Stage, as_numbers
from upstream_tls.tls.lint import LintWarning
from upstream_tls.tls.peer import PresentedCertificate
from upstream_tls.tls.result import ProbeTarget, Stages, TLSFacts, as_document

TARGET = ProbeTarget(address="10.0.0.7", port=9443, host_field="orders")


@pytest.mark.parametrize(
    ("serializer", "kind"),
    [
        (results.WarningSerializer, LintWarning),
        (results.StagesSerializer, Stages),
        (results.NegotiatedSerializer, TLSFacts),
        (results.PresentedCertificateSerializer, PresentedCertificate),
        (results.DiagnosisSerializer, Diagnosis),
        (results.AttemptSerializer, Attempt),
        (results.UpstreamFileSerializer, UpstreamFile),
        (results.SnippetSerializer, Snippet),
    ],
)
def test_every_field_is_described(serializer: type[serializers.Serializer[Any]], kind: type) -> None:
    """A field that a service adds would be missing in the document: this fails first."""
    assert list(serializer().fields) == [field.name for field in fields(kind)]


@pytest.mark.parametrize("make", [result, failure])
def test_the_result_of_a_connection_test(make: Any) -> None:
    """Shown through its description it is what it was, but for the upstream's id, which the test's row adds."""
    document = json.loads(json.dumps(as_document(make(TARGET))))
    document["upstream"] = {"id": None, **document["upstream"]}
    if document["error"]:
        document["error"]["evidence"] = as_numbers(Evidence(stage=Stage.TLS, alert_read=42))
    shown = json.loads(json.dumps(results.ConnectionTestResultSerializer(document).data))
    assert shown == json.loads(json.dumps(document))


def test_the_result_of_a_proof() -> None:
    """As above; the view adds the upstream."""
    own = as_document(result(TARGET))
    proof = judge(own, as_document(failure(TARGET)))
    assert isinstance(proof, EnforcementResult)
    document = {"upstream": {"id": None, "address": "a", "port": 1}, **asdict(proof)}
    assert results.EnforcementSerializer(document).data == document | {"attempts": list(document["attempts"])}
