"""What it takes to undo entries of the audit log: which values come back, which cannot, and which were changed since.

Laws of this module:
- Changes nothing and opens no secret. Only the entries and what is stored of the host decide.
- Entries are undone one after the other, the newest first. A value comes back only where it is what the entry made of
  it; any other is a conflict.
- Keys, secret values of header rules and what Aegis sets by itself are not in the log: they stay as they are, and it is
  said. A certificate whose key was replaced stays with it.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from rest_framework import serializers

from aegis_site.kernel.audit.changes import Change, differences
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.masking import MASK
from hosts.api.serializers import HostSerializer
from hosts.audit import described
from hosts.models import Host
from hosts.traffic import RULES

# What a revert says of itself in the log: which entry, or until when.
NOTE = "reverts_entry"
NOTE_OF_TIME = "reverts_to"

_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{1,6})\]")
# Of each section the certificate, and what says which key belongs to it.
_PAIRS = {
    "upstream_tls": ("client_certificate", ("client_key_set", "client_key_spki_sha256")),
    "downstream_tls": ("certificate", ("key_set", "key_spki_sha256")),
}

Path = tuple[str | int, ...]


class _Absent:
    """Is in no document."""


_ABSENT = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A field that stays as it is, and why."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`changes` are those that a revert makes, `conflicts` the fields that were changed since: then there are none.

    `body` is what PATCH of the host would get.
    """

    changes: tuple[Change, ...] = ()
    kept: tuple[Kept, ...] = ()
    conflicts: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict, repr=False)


def plan_revert(entries: Sequence[AuditEntry], host: Host) -> Plan:
    """Of entries that changed `host`, the newest first; `host` was read `with_configuration`. No query."""
    found = dict(described(host).document)
    document = deepcopy(found)
    ids: list[str | None] = [str(upstream.pk) for upstream in host.upstreams.all()]
    every_change = [change for entry in entries for change in entry.changes]
    kept: dict[str, Kept] = {}
    paths: list[Path] = []
    conflicts: tuple[str, ...] = ()
    serializer = HostSerializer()
    for entry in entries:
        wanted: list[tuple[Path, Change]] = []
        for change in entry.changes:
            name, path = change["field"], _path(change["field"])
            if name in (NOTE, NOTE_OF_TIME):
                continue
            if reason := _why_kept(path, every_change, found, serializer):
                kept[name] = Kept(field=name, reason=reason)
            else:
                wanted.append((path, change))
        conflicts = tuple(change["field"] for path, change in wanted if not _is_as_left(document, path, change))
        if conflicts:
            break
        _undo(document, ids, wanted)
        paths += [path for path, _ in wanted]
    return Plan(
        changes=() if conflicts else tuple(differences(found, document)),
        kept=tuple(kept.values()),
        conflicts=conflicts,
        body={} if conflicts else _body(document, ids, paths),
    )


def _path(text: str) -> Path:
    return tuple(name or int(index) for name, index in _STEP.findall(text))


def _why_kept(path: Path, changes: Sequence[Change], document: dict[str, Any], serializer: HostSerializer) -> str:
    """Why a field cannot come back; empty: it can."""
    top = str(path[0]) if path else ""
    if top not in document:
        return "This version of Aegis does not have it."
    if top in _PAIRS and len(path) > 1:
        certificate, key_fields = _PAIRS[top]
        is_of_pair = path[1] == certificate or path[1] in key_fields
        if is_of_pair and any(change["field"] in [f"{top}.{name}" for name in key_fields] for change in changes):
            return "The private key was changed with it, and the log has no keys: both stay as they are."
    if top in RULES and _had_secret(top, changes):
        return "A secret value was changed, and the log has none: the rules stay as they are."
    return "" if _is_writable(path, serializer) else "Aegis sets it by itself."


def _had_secret(direction: str, changes: Sequence[Change]) -> bool:
    """Whether a rule of this direction that was changed had a secret value before."""
    return any(_has_mask(change["before"]) for change in changes if _path(change["field"])[:1] == (direction,))


def _has_mask(value: Any) -> bool:
    return str(value.get("value", "") if isinstance(value, dict) else value).startswith(MASK)


def _is_writable(path: Path, item: Any) -> bool:
    """Whether the API takes the field, whole lists being one."""
    for step in path:
        if isinstance(step, int) or not isinstance(item, serializers.Serializer):
            break
        if step not in item.fields or item.fields[step].read_only:
            return False
        item = item.fields[step]
    return True


def _is_as_left(document: Any, path: Path, change: Change) -> bool:
    """Whether the stored value is what the entry made of it. What is not in a list is None there."""
    *steps, last = path
    for step in steps:
        document = _below(document, step)
    value = _below(document, last)
    if isinstance(value, _Absent):
        # An item that was taken from the end of a list can only be put there again.
        return isinstance(last, int) and isinstance(document, list) and change["after"] is None
    return bool(value == change["after"])


def _below(value: Any, step: str | int) -> Any:
    if isinstance(value, list) and isinstance(step, int):
        return value[step] if step < len(value) else _ABSENT
    if isinstance(value, dict):
        return value.get(str(step), _ABSENT)
    return _ABSENT


def _undo(document: dict[str, Any], ids: list[str | None], wanted: Sequence[tuple[Path, Change]]) -> None:
    """Puts the values back. Lists differ in length at their ends only, so items come and go there."""
    gone: list[Path] = []
    for path, change in wanted:
        if isinstance(path[-1], int) and change["before"] is None:
            gone.append(path)
        else:
            _put(document, ids, path, deepcopy(change["before"]))
    for path in reversed(gone):
        items = _container(document, path)
        del items[path[-1]]
        if path[0] == "upstreams":
            del ids[int(path[-1])]


def _put(document: dict[str, Any], ids: list[str | None], path: Path, value: Any) -> None:
    container, last = _container(document, path), path[-1]
    if isinstance(container, list) and int(last) >= len(container):
        container.append(value)
        if path[0] == "upstreams":
            ids.append(None)
    else:
        container[last] = value


def _container(document: Any, path: Path) -> Any:
    for step in path[:-1]:
        document = document[step]
    return document


def _body(document: dict[str, Any], ids: Sequence[str | None], paths: Sequence[Path]) -> dict[str, Any]:
    """The parts of the document that the paths are in, as PATCH takes them: whole lists, single fields of sections."""
    body: dict[str, Any] = {}
    for path in paths:
        top = str(path[0])
        if isinstance(document[top], dict):
            body.setdefault(top, {})[str(path[1])] = document[top][str(path[1])]
        else:
            body[top] = document[top]
    if "upstreams" in body:
        body["upstreams"] = [
            {**upstream, **({"id": identifier} if identifier else {})}
            for upstream, identifier in zip(document["upstreams"], ids, strict=True)
        ]
    for direction in RULES:
        if direction in body:
            body[direction] = [_rule(rule) for rule in document[direction]]
    return body


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule whose value is a mask keeps the stored one; one that removes has none."""
    is_masked = rule["value"].startswith(MASK)
    return {name: value for name, value in rule.items() if not (name == "value" and is_masked)}
