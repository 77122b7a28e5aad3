"""What the editor shows of connection tests, from their rows to HTML.

Laws of this module:
- No queries and no judgement: what a result means was decided by the probe, here it is put in order for the eye.
- Texts of certificates come from strangers; the templates escape them.
"""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from hosts.connection_tests import why_expired
from hosts.forms import HostForm
from hosts.models import ConnectionTest, ConnectionTestState

# Fields of the API that the editor calls otherwise.
_FORM_NAMES = {"enabled": "tls_enabled"}

# As evidence names them, as the result times them, and as a person reads them.
_STAGES = (
    ("dns", "dns_ms", "DNS"),
    ("tcp", "tcp_ms", "TCP"),
    ("tls", "tls_ms", "TLS"),
    ("http", "first_byte_ms", "First byte"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLink:
    """A field of the editor: the name that a person sees and the id of its control."""

    label: str
    control_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """A value of the form that cannot be tested. `field` is None for what concerns no single one."""

    message: str
    field: FieldLink | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A part of the timeline. `weight` is its width, on a scale on which short stages stay visible."""

    label: str
    duration_ms: int | None
    weight: int
    is_failed: bool


def results_panel(
    tests: Sequence[ConnectionTest], *, is_outdated: bool = False, links_to_editor: bool = True
) -> SafeString:
    """Each test: running, its result, or why there is none. `is_outdated`: the host was changed since.

    `links_to_editor`: whether the page has the editor's fields, to which a failure leads.
    """
    views = [_test_view(test) for test in tests]
    if not links_to_editor:
        views = [{**view, "field": None} for view in views]
    context = {"tests": views, "is_outdated": is_outdated}
    return render_to_string("hosts/connection_test_results.html", context)


def problems_panel(problems: Sequence[FieldProblem]) -> SafeString:
    """Why nothing was tested."""
    return render_to_string("hosts/connection_test_problems.html", {"problems": problems})


def field_link(name: str) -> FieldLink | None:
    """The editor's field for a name of the API or of the form; None when the editor has none."""
    form_name = _FORM_NAMES.get(name, name)
    field = HostForm.base_fields.get(form_name)
    if field is None:
        return None
    return FieldLink(label=str(field.label or form_name.replace("_", " ").capitalize()), control_id=f"id_{form_name}")


def summary(tests: Sequence[ConnectionTest]) -> str:
    """What a screen reader says when the results are there."""
    return " ".join(f"{test.target}: {verdict(test)[1]}." for test in tests)


def verdict(test: ConnectionTest) -> tuple[str, str]:
    """A badge's kind and text."""
    if test.state == ConnectionTestState.EXPIRED:
        return "danger", "Not run"
    if test.state != ConnectionTestState.DONE:
        return "info", "Testing"
    if not test.success:
        return "danger", "Failed"
    is_verified = test.result is None or test.result["verified"]
    return ("success", "Works") if is_verified else ("warning", "Works, not verified")


def age(test: ConnectionTest) -> str:
    """How long ago a test ended, in the words of a person; empty when it has not."""
    if test.finished_at is None:
        return ""
    return ago(test.finished_at, now=timezone.now())


def ago(moment: datetime.datetime, *, now: datetime.datetime) -> str:
    """How long ago something was, in the words of a person."""
    is_new = now - moment < datetime.timedelta(minutes=1)
    return "just now" if is_new else f"{timesince(moment, now, depth=1)} ago"


def last_test_cell(test: ConnectionTest | None) -> SafeString:
    """Of the last test what a list has room for: OK or the code, and when."""
    if test is None:
        return SafeString("never")
    kind, text = ("success", "OK") if test.success else ("danger", test.code)
    return render_to_string("hosts/last_test.html", {"test": test, "kind": kind, "text": text, "age": age(test)})


def _test_view(test: ConnectionTest) -> dict[str, Any]:
    kind, text = verdict(test)
    view: dict[str, Any] = {"test": test, "kind": kind, "text": text, "age": age(test)}
    if test.state == ConnectionTestState.EXPIRED:
        view["why_expired"] = why_expired(test)
    result = test.result
    if result is None:
        return view
    error = result["error"]
    return view | {
        "result": result,
        "stages": _stages(result["stages"], failed=error["evidence"].get("stage", "") if error else ""),
        "chain": [_certificate_view(certificate) for certificate in result["chain"]],
        "field": field_link(error["field"]) if error and error["field"] else None,
        "evidence": json.dumps(error["evidence"], indent=2, ensure_ascii=False) if error else "",
    }


def _stages(durations: Mapping[str, int | None], *, failed: str) -> list[StageView]:
    return [
        StageView(
            label=label,
            duration_ms=(duration_ms := durations[key]),
            weight=10 + round(10 * math.log2(1 + (duration_ms or 0))),
            is_failed=name == failed,
        )
        for name, key, label in _STAGES
    ]


def _certificate_view(certificate: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: _moment(certificate[name]) for name in ("not_before", "not_after")}
    return {**certificate, **times}


def _moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None
