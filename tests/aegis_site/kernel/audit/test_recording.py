"""One entry for each thing that a piece of work changed."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.recording import (
    Described,
    Kind,
    Recording,
    changing,
    continuing,
    one_entry_each,
    open_recording,
)

pytestmark = pytest.mark.django_db


class Shelf:
    """Things that are read as a database would be."""

    def __init__(self) -> None:
        self.stored: dict[int, dict[str, Any]] = {1: {"colour": "red"}, 2: {"colour": "blue"}}
        self.reads: list[list[int]] = []
        self.kind = Kind(target_type="thing", read=self._read)

    def _read(self, ids: Collection[int]) -> dict[int, Described]:
        self.reads.append(list(ids))
        return {i: Described(name=f"thing {i}", document=dict(self.stored[i])) for i in ids if i in self.stored}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def entries() -> list[tuple[str, str, list[Any]]]:
    return [
        (entry.action, entry.target_name, [tuple(change.values()) for change in entry.changes])
        for entry in AuditEntry.objects.filter(target_type="thing").order_by("pk")
    ]


def test_changes_creations_and_deletions(shelf: Shelf) -> None:
    """What was done is seen from what is stored."""
    with changing(shelf.kind, [1, 2, 3], user=None):
        shelf.stored[1]["colour"] = "green"
        del shelf.stored[2]
        shelf.stored[3] = {"colour": "white"}
    assert entries() == [
        ("changed", "thing 1", [("colour", "red", "green")]),
        ("deleted", "thing 2", [("colour", "blue", None)]),
        ("created", "thing 3", [("colour", None, "white")]),
    ]
    assert shelf.reads == [[1, 2, 3], [1, 2, 3]]


def test_no_difference_no_entry(shelf: Shelf) -> None:
    """Saving without changes is not history; neither is what was neither there before nor after."""
    with changing(shelf.kind, [1, 9], user=None, action="issued"):
        pass
    assert entries() == []


def test_nested_blocks_make_one_entry(shelf: Shelf) -> None:
    """With the difference from the first before to the last after, and the more telling name."""
    operator = User.objects.create_user("operator")
    with one_entry_each(user=None):
        with changing(shelf.kind, [1], user=operator):
            shelf.stored[1]["colour"] = "green"
        with changing(shelf.kind, [1], user=None, action="issued"):
            shelf.stored[1]["size"] = 3
    assert entries() == [("issued", "thing 1", [("colour", "red", "green"), ("size", None, 3)])]
    assert AuditEntry.objects.get(target_type="thing").user == operator
    assert open_recording() is None


def test_work_that_pauses(shelf: Shelf) -> None:
    """What happens between its blocks is not its own; it writes when it is done."""
    recording = Recording(user=None)
    with continuing(recording), changing(shelf.kind, [1], user=None):
        shelf.stored[1]["colour"] = "green"
    assert open_recording() is None
    with changing(shelf.kind, [3], user=None):
        shelf.stored[3] = {"colour": "white"}
    assert entries() == [("created", "thing 3", [("colour", None, "white")])]
    with continuing(recording), changing(shelf.kind, [1], user=None):
        shelf.stored[1]["size"] = 3
    recording.write()
    assert entries()[1:] == [("changed", "thing 1", [("colour", "red", "green"), ("size", None, 3)])]


def test_many_things_are_read_in_parts(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """And have their entries in their order all the same."""
    monkeypatch.setattr("aegis_site.kernel.audit.recording._THINGS_PER_READ", 2)
    with changing(shelf.kind, [5, 4, 3], user=None, found={}):
        for number in (3, 4, 5):
            shelf.stored[number] = {"colour": "blue"}
    assert shelf.reads == [[5, 4], [3]]
    assert [name for _, name, _ in entries()] == ["thing 5", "thing 4", "thing 3"]


def test_changed_and_changed_back(shelf: Shelf) -> None:
    """Is no change."""
    with one_entry_each(user=None):
        for colour in ("green", "red"):
            with changing(shelf.kind, [1], user=None):
                shelf.stored[1]["colour"] = colour
    assert entries() == []


def test_a_failure_leaves_no_entry(shelf: Shelf) -> None:
    """And no open block."""
    with suppress(ZeroDivisionError), changing(shelf.kind, [1], user=None):
        shelf.stored[1]["colour"] = "green"
        raise ZeroDivisionError
    assert entries() == []
    assert open_recording() is None


def test_a_failure_that_was_survived_is_no_change(shelf: Shelf) -> None:
    """An inner service may fail and be rolled back; the outer block tells what is stored in the end."""
    with one_entry_each(user=None):
        with changing(shelf.kind, [1], user=None):
            shelf.stored[1]["colour"] = "green"
        with pytest.raises(ZeroDivisionError), changing(shelf.kind, [2], user=None):
            raise ZeroDivisionError
    assert entries() == [("changed", "thing 1", [("colour", "red", "green")])]


def test_what_was_read_already_is_not_read_again(shelf: Shelf) -> None:
    """A caller who has the stored state at hand passes it."""
    found = {1: Described(name="thing 1", document={"colour": "red"})}
    with changing(shelf.kind, [1], user=None, found=found):
        shelf.stored[1]["colour"] = "green"
    assert shelf.reads == [[1]]
    assert entries() == [("changed", "thing 1", [("colour", "red", "green")])]


def test_what_is_read_for_the_answer_is_not_read_again(shelf: Shelf) -> None:
    """Unless the thing is changed once more."""
    for changes, reads in ((1, [[1]]), (2, [[1], [1]])):
        shelf.reads.clear()
        with one_entry_each(user=None) as recording:
            for number in range(changes):
                with changing(shelf.kind, [1], user=None):
                    shelf.stored[1] = {"colour": f"{changes} {number}"}
                if number == 0:
                    found = Described(name="thing 1", document=dict(shelf.stored[1]))
                    recording.found_after(shelf.kind, 1, found)
        assert shelf.reads == reads
    assert [changed for _, _, ((_, _, changed),) in entries()] == ["1 0", "2 1"]


def test_without_its_entry_a_change_does_not_happen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is written inside the transaction: when that fails, all is undone."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr("aegis_site.kernel.audit.services.AuditEntry.objects.bulk_create", fail)
    with pytest.raises(RuntimeError), transaction.atomic(), one_entry_each(user=None):
        User.objects.create_user("operator")
    assert not User.objects.exists()


def test_many_steps_are_read_once_at_their_end(shelf: Shelf) -> None:
    """Such blocks write nothing; the entries come when the caller has them written, with one read."""
    recording = Recording(user=None)
    for number, colour in ((1, "green"), (2, "white"), (1, "black")):
        with continuing(recording), changing(shelf.kind, [number], user=None):
            shelf.stored[number]["colour"] = colour
    assert open_recording() is None
    assert entries() == []
    recording.write()
    assert entries() == [
        ("changed", "thing 1", [("colour", "red", "black")]),
        ("changed", "thing 2", [("colour", "blue", "white")]),
    ]
    assert shelf.reads == [[1], [2], [1, 2]]


def test_a_note_stands_before_the_difference(shelf: Shelf) -> None:
    """And says nothing where nothing was changed."""
    with one_entry_each(user=None) as recording:
        recording.remember(shelf.kind, [1, 2])
        for identifier in (1, 2):
            recording.note(shelf.kind, identifier, {"field": "why", "before": None, "after": "because"})
        shelf.stored[1]["colour"] = "green"
    [entry] = AuditEntry.objects.all()
    assert [change["field"] for change in entry.changes] == ["why", "colour"]
