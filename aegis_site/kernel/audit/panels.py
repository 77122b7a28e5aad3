"""Audit entries made readable for the admin.

Laws of this module: what is shown is bounded, whatever is stored. Of a certificate its subject, its end and its
fingerprint are shown.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from aegis_site.kernel.audit.changes import Change
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.certificates import describe

SHOWN_CHARACTERS = 300
SHOWN_CERTIFICATES = 5
SHOWN_CHANGES = 200
SUMMARY_FIELDS = 4

_PEM_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView:
    """One row of a table of changes; None was not there."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """An entry with its heading and its table, and the page that undoes it, if there is one."""

    entry: AuditEntry
    label: str
    changes: SafeString
    revert_url: str


def entry_views(
    entries: Iterable[AuditEntry], *, revert_url: Callable[[AuditEntry], str] = lambda entry: ""
) -> list[EntryView]:
    """No query."""
    return [
        EntryView(
            entry=entry,
            label=action_label(entry.action),
            changes=changes_panel(entry.changes),
            revert_url=revert_url(entry),
        )
        for entry in entries
    ]


def changes_panel(changes: Iterable[Change]) -> SafeString:
    """A table of all fields, nested ones in rows of their own."""
    rows = [row for change in changes for row in _rows(change["field"], change["before"], change["after"])]
    context = {"rows": rows[:SHOWN_CHANGES], "hidden_count": max(0, len(rows) - SHOWN_CHANGES)}
    return render_to_string("audit/changes.html", context)


def summary(changes: list[Change]) -> str:
    """Which fields, in a few words."""
    names = [change["field"] for change in changes[:SUMMARY_FIELDS]]
    hidden_count = len(changes) - len(names)
    return f"{', '.join(names)} and {hidden_count} more" if hidden_count else ", ".join(names)


def action_label(action: str) -> str:
    """The words of an action's name."""
    return action.replace("_", " ").capitalize()


def readable(value: Any) -> str | None:
    """One value, bounded. None stays None, which is "not there"."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return _bounded(json.dumps(value, ensure_ascii=False))
    kind = _PEM_BEGIN.search(value)
    if kind is None:
        return _bounded(value) if value else "empty"
    return _certificates(value) if kind[1] == "CERTIFICATE" else f"{kind[1].capitalize()}, {_digest(value)}"


def _rows(field: str, before: Any, after: Any) -> Iterator[ChangeView]:
    """A part that appeared or went as a whole is shown field by field."""
    parts = [part for part in (before, after) if part is not None]
    if parts and all(isinstance(part, dict) and part for part in parts):
        for name in dict.fromkeys(name for part in parts for name in part):
            yield from _rows(f"{field}.{name}", (before or {}).get(name), (after or {}).get(name))
    elif parts and all(isinstance(part, list) and any(isinstance(item, dict) for item in part) for part in parts):
        for index in range(max(len(part) for part in parts)):
            yield from _rows(f"{field}[{index}]", _item(before, index), _item(after, index))
    else:
        yield ChangeView(field=field, before=readable(before), after=readable(after))


def _item(items: list[Any] | None, index: int) -> Any:
    return items[index] if items and index < len(items) else None


def _certificates(text: str) -> str:
    blocks = _CERTIFICATE.findall(text)
    lines = [_certificate(block) for block in blocks[:SHOWN_CERTIFICATES]]
    if hidden_count := len(blocks) - len(lines):
        lines.append(f"and {hidden_count} more")
    return "\n".join(lines)


def _certificate(pem: str) -> str:
    try:
        facts = describe(x509.load_pem_x509_certificate(pem.encode("ascii")))
    except ValueError:
        return f"Certificate, {_digest(pem)}"
    return f"{_bounded(facts.subject)}, until {facts.not_after:%Y-%m-%d}, SHA-256 {facts.fingerprint_sha256}"


def _digest(text: str) -> str:
    return f"SHA-256 of the text {hashlib.sha256(text.encode()).hexdigest()}"


def _bounded(text: str) -> str:
    hidden_count = len(text) - SHOWN_CHARACTERS
    return f"{text[:SHOWN_CHARACTERS]}… ({hidden_count} more characters)" if hidden_count > 0 else text
