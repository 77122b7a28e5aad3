"""Which stored host each entry of a document is about.

Laws of this module: by its id, and when no host has that, by its name; each host belongs to one entry at most. What an
entry has of another shape than it should is left to the serializer.
"""

import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from hosts.models import Host
from hosts.validators import clean_domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One entry, the host that it replaces, and the id of the host that it makes when there is none.

    `name` and `domains` are what will be stored if it may be.
    """

    position: int
    entry: dict[str, Any]
    stored: Host | None
    host_id: uuid.UUID | None
    name: str
    domains: frozenset[str]
    errors: dict[str, list[ValidationError]] = field(default_factory=dict)

    @property
    def is_by_id(self) -> bool:
        """Whether the entry is about the same host as it was where the document was made."""
        return self.stored is None or self.stored.pk == self.host_id


def match_entries(entries: Sequence[dict[str, Any]], hosts: Iterable[Host]) -> list[Match]:
    """One match for each entry, in order."""
    by_id = {host.pk: host for host in hosts}
    identifiers = [_identifier(entry) for entry in entries]
    named_by_id = {identifier for identifier in identifiers if identifier in by_id}
    by_name = {host.name: host for host in by_id.values() if host.pk not in named_by_id}
    seen: set[uuid.UUID] = set()
    matches = []
    for position, (entry, identifier) in enumerate(zip(entries, identifiers, strict=True)):
        name = _name(entry)
        stored = by_id.get(identifier) if identifier and identifier in by_id else by_name.get(name)
        meant = stored.pk if stored else identifier
        match = Match(
            position=position,
            entry=entry,
            stored=stored,
            host_id=identifier,
            name=name,
            domains=frozenset(_domains(entry)),
            errors=_errors(entry, identifier, is_repeated=meant in seen),
        )
        matches.append(match)
        if meant:
            seen.add(meant)
    return matches


def _errors(
    entry: dict[str, Any], identifier: uuid.UUID | None, *, is_repeated: bool
) -> dict[str, list[ValidationError]]:
    if identifier is None and entry.get("id") is not None:
        return {"id": [ValidationError("This is not a UUID.", code="invalid")]}
    if is_repeated:
        message = "Another entry of this document is about the same host."
        return {"id" if identifier else "name": [ValidationError(message, code="duplicate")]}
    return {}


def _identifier(entry: dict[str, Any]) -> uuid.UUID | None:
    text = entry.get("id")
    try:
        return uuid.UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _name(entry: dict[str, Any]) -> str:
    name = entry.get("name")
    # The serializer takes numbers as texts.
    return str(name).strip() if isinstance(name, str | int | float) else ""


def _domains(entry: dict[str, Any]) -> Iterable[str]:
    names = entry.get("domains")
    for name in names if isinstance(names, list) else ():
        with suppress(ValidationError):  # it will be refused
            yield clean_domain(name) if isinstance(name, str) else ""
