"""Before and after: one entry for each thing that a piece of work changed, however many services took part in it.

Laws of this module:
- A thing is read before its first change and once more at the end, both times as it is stored; the difference is the
  entry. So it does not matter which way a change took, and what was rolled back is no change.
- Blocks nest: the outermost one writes. A form that saves a host and has a certificate issued makes one entry.
- The end of the outermost block lies inside the transaction of the change. Without a difference nothing is written.
- Work that pauses, such as a generator, keeps its `Recording`, continues it block by block and writes at the end:
  what whoever runs it does between the blocks is not part of it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import Change, differences
from aegis_site.kernel.audit.services import Event, record_many


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One thing as it is stored: its name, and a JSON document without secrets."""

    name: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Things of one type. `read` describes those of these ids that exist, in a constant number of queries."""

    target_type: str
    read: Callable[[Collection[Any]], Mapping[Any, Described]]


USER_TYPE = "user"

# How many things are described at once: documents have whole certificates in them.
_THINGS_PER_READ = 200


class Recording:
    """What was there before a piece of work began to change it."""

    def __init__(self, *, user: Actor | None) -> None:
        self._user = user
        self._befores: dict[Kind, dict[Any, Described | None]] = {}
        self._afters: dict[tuple[Kind, Any], Described] = {}
        self._actions: dict[tuple[Kind, Any], str] = {}
        self._notes: dict[tuple[Kind, Any], Change] = {}

    def remember(
        self, kind: Kind, ids: Collection[Any], *, action: str = "", found: Mapping[Any, Described] | None = None
    ) -> None:
        """To be called before these are changed; again does no harm. `action` says it better than "changed".

        `found` saves the queries of a caller who has just read them.
        """
        for identifier in ids:
            self._afters.pop((kind, identifier), None)
        befores = self._befores.setdefault(kind, {})
        if unknown := [identifier for identifier in ids if identifier not in befores]:
            stored = kind.read(unknown) if found is None else found
            befores |= {identifier: stored.get(identifier) for identifier in unknown}
        if action:
            self._actions |= {(kind, identifier): action for identifier in ids}

    def remember_new(self, kind: Kind, identifier: Any) -> None:
        """To be called when the database gave a new thing its id, which was not known before."""
        self._befores.setdefault(kind, {}).setdefault(identifier, None)

    def found_after(self, kind: Kind, identifier: Any, described: Described) -> None:
        """What is stored of a thing after its change, told by a caller who knows it; until it is changed again."""
        self._afters[(kind, identifier)] = described

    def note(self, kind: Kind, identifier: Any, change: Change) -> None:
        """Something to be said beside the difference, in front of it; without one, nothing is said."""
        self._notes[kind, identifier] = change

    def act_for(self, user: Actor | None) -> None:
        """Who does it, unless that is known."""
        self._user = self._user or user

    def write(self) -> None:
        """The entries, in the order in which things were first remembered."""
        events: list[Event] = []
        deleted_users: set[object] = set()
        for kind, befores in self._befores.items():
            for identifier, after in self._stored(kind, list(befores)):
                event = self._event(kind, identifier, befores[identifier], after)
                if event.changes:
                    events.append(event)
                if kind.target_type == USER_TYPE and after is None:
                    deleted_users.add(identifier)
        record_many(events, deleted_users=deleted_users)

    def _stored(self, kind: Kind, identifiers: Sequence[Any]) -> Iterator[tuple[Any, Described | None]]:
        for start in range(0, len(identifiers), _THINGS_PER_READ):
            part = identifiers[start : start + _THINGS_PER_READ]
            found = {
                identifier: self._afters[(kind, identifier)]
                for identifier in part
                if (kind, identifier) in self._afters
            }
            if unread := [identifier for identifier in part if identifier not in found]:
                found |= kind.read(unread)
            yield from ((identifier, found.get(identifier)) for identifier in part)

    def _event(self, kind: Kind, identifier: Any, before: Described | None, after: Described | None) -> Event:
        if before is None or after is None:
            action = "created" if before is None else "deleted"
        else:
            action = self._actions.get((kind, identifier), "changed")
        named = after or before
        changes = differences(before.document if before else {}, after.document if after else {})
        note = self._notes.get((kind, identifier))
        return Event(
            user=self._user,
            action=action,
            target_type=kind.target_type,
            target_id=identifier,
            target_name=named.name if named else "",
            changes=[note, *changes] if note and changes else changes,
        )


_open: ContextVar[Recording | None] = ContextVar("audit_recording", default=None)


def open_recording() -> Recording | None:
    """That of the outermost block, if there is one."""
    return _open.get()


@contextmanager
def continuing(recording: Recording) -> Iterator[None]:
    """What is changed in the block belongs to this recording, which somebody else writes.

    For work in many steps: what it changed is then read once for all of them.
    """
    token = _open.set(recording)
    try:
        yield
    finally:
        _open.reset(token)


@contextmanager
def one_entry_each(*, user: Actor | None) -> Iterator[Recording]:
    """What is changed in the block makes one entry for each thing. An exception leaves none."""
    if (outer := _open.get()) is not None:
        outer.act_for(user)
        yield outer
        return
    recording = Recording(user=user)
    with continuing(recording):
        yield recording
    recording.write()


@contextmanager
def changing(
    kind: Kind,
    ids: Collection[Any],
    *,
    user: Actor | None,
    action: str = "",
    found: Mapping[Any, Described] | None = None,
) -> Iterator[None]:
    """The block changes, makes or deletes these things, which are locked if they have to be."""
    with one_entry_each(user=user) as recording:
        recording.remember(kind, ids, action=action, found=found)
        yield
