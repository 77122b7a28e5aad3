"""The operators' guide names every code, and its examples are what the API takes and gives."""

import datetime
import json
import re
from dataclasses import asdict
from typing import Any

import pytest
from django.urls import resolve

from aegis_site.environment import BASE_DIR
from hosts.api.serializers import HostSerializer, UpstreamTLSSerializer
from hosts.enforcement import judge
from upstream_tls.tls.alerts import alert_text
from upstream_tls.tls.diagnosis import ALERT_CODES, VERIFY_CODES
from upstream_tls.tls.remedies import CONFIGURATION_FIXES, REMEDIES
from upstream_tls.tls.result import ProbeResult, ProbeTarget, Stages, as_document

GUIDE = (BASE_DIR / "docs" / "upstream-mtls.md").read_text()
ROWS = {row.split("`")[1]: row for row in GUIDE.splitlines() if row.startswith("| `")}
EXAMPLES: list[dict[str, Any]] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)]


@pytest.mark.parametrize("code", sorted(set(REMEDIES) | set(CONFIGURATION_FIXES) | {"bad_pem"}))
def test_every_code_has_its_row(code: str) -> None:
    """With message, cause or fix beside it."""
    assert code in ROWS
    assert ROWS[code].count("|") >= 4


@pytest.mark.parametrize(("code", "message"), sorted(set(VERIFY_CODES.values())))
def test_messages_about_the_upstreams_certificate_are_verbatim(code: str, message: str) -> None:
    """So that a search for the message finds the row."""
    assert f"`{message}`" in ROWS[code]


@pytest.mark.parametrize(("alert", "code"), sorted(ALERT_CODES.items()))
def test_messages_about_alerts_are_verbatim(alert: int, code: str) -> None:
    """Those of the alerts that have a code of their own; the rest of each code's alerts is rare."""
    rare = {51, 71}
    assert alert in rare or f"`remote error: tls: {alert_text(alert)}`" in ROWS[code]


def test_every_setting_of_the_api_is_explained() -> None:
    """All names that may be written inside `upstream_tls`."""
    fields = UpstreamTLSSerializer().fields
    missing = [name for name, field in fields.items() if not field.read_only and f"`{name}`" not in GUIDE]
    assert missing == []


def test_the_example_of_a_host_has_only_known_fields() -> None:
    """What jq builds in the first curl line."""
    body = re.search(r"upstream_tls: \{(.*?)\}", GUIDE, re.DOTALL)
    assert body is not None
    assert set(re.findall(r"(\w+): ?", body[1])) <= set(UpstreamTLSSerializer().fields)
    assert {"name", "domains", "upstreams", "upstream_tls"} <= set(HostSerializer().fields)


def test_the_paths_of_the_examples_exist() -> None:
    """Each curl line goes somewhere."""
    paths = set(re.findall(r"\$API(/[a-zA-Z0-9/.\-]+)", GUIDE))
    assert len(paths) == 6
    for path in paths:
        view = resolve("/api/v1" + path.replace("ID", "00000000-0000-0000-0000-000000000000"))
        assert view.url_name != "api-root"
        assert "UnknownPath" not in repr(view.func)


def test_the_example_of_a_test_has_the_shape_of_a_result() -> None:
    """Key by key, in the order of the API."""
    result = ProbeResult(
        target=ProbeTarget(address="10.0.0.7", port=9443, host_field="orders.internal:9443"),
        server_name="orders.internal",
        success=False,
        verified=False,
        tested_at=datetime.datetime.now(datetime.UTC),
        duration_ms=41,
        timeout_s=5,
        stages=Stages(),
    )
    document = as_document(result)
    example = EXAMPLES[0]
    assert list(example) == list(document)
    assert list(example["stages"]) == list(document["stages"])
    assert set(example["upstream"]) == {"id", *document["upstream"]}
    assert example["error"]["message"] in ROWS[example["error"]["code"]]


def test_the_example_of_a_proof_has_the_shape_of_a_proof() -> None:
    """As does its explanation."""
    own = {"success": True, "http": {"status": 200}, "error": None}
    none = {
        "success": False,
        "http": None,
        "error": {"code": "client_certificate_required", "message": "remote error: tls: certificate required"},
    }
    proof = json.loads(json.dumps(asdict(judge(own, none, {**own, "http": {"status": 403}}))))
    example = EXAMPLES[1]
    assert example["attempts"] == proof["attempts"]
    assert set(example) == {"upstream", *proof}
    assert proof["explanation"].startswith(example["explanation"].removesuffix(" …"))
