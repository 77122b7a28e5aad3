"""Documents as text."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.exchange.reading import (
    MAX_DEPTH,
    MAX_DOCUMENT_BYTES,
    DocumentTooLarge,
    DocumentUnreadable,
    Format,
    read_document,
    write_document,
)
from tests.hosts.examples import LEAF

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("form", Format)
@given(document=VALUES)
def test_what_was_written_is_read(form: Format, document: Any) -> None:
    """Any value of JSON's types, to the last character and type."""
    again = read_document(write_document(document, form).encode(), form)
    assert again == document
    assert repr(again) == repr(document)


@pytest.mark.parametrize("form", Format)
@given(content=st.binary(max_size=60) | st.text("{}[]:,&*!-'\"|> \n\tab1.~<", max_size=40).map(str.encode))
def test_whatever_is_sent_is_a_value_or_refused(form: Format, content: bytes) -> None:
    """Nothing else comes out."""
    with suppress(DocumentUnreadable):
        read_document(content, form)


def test_pem_is_a_block() -> None:
    """A person can read and compare it."""
    text = write_document({"ca": LEAF.chain_pem}, Format.YAML)
    assert text.startswith("ca: |\n  -----BEGIN CERTIFICATE-----\n  ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-11-24", "2026-11-24"),
        ("0x10", "0x10"),
        ("<<: x", {"<<": "x"}),
        ("true", True),
        ("'true'", "true"),
        ("~", None),
        ("", None),
        ("-7", -7),
        ("1e3", 1000.0),
        ("{a: [1, 2.5]}", {"a": [1, 2.5]}),
    ],
)
def test_plain_values_mean_what_they_mean_in_yaml_1_2(text: str, value: Any) -> None:
    """The core schema, not the one in which Norway is false."""
    assert read_document(text.encode(), Format.YAML) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "Anchors and aliases are not read. Line 1, column 4."),
        ("a: *x", "Anchors and aliases are not read. Line 1, column 4."),
        ("a: !!python/name:os.system x", "Tags are not read. Line 1, column 4."),
        ("a: 1\nb: 2\na: 3", "A name stands twice in one mapping. Line 3, column 1."),
        ("? [a]\n: 1", "A name in a mapping is a text. Line 1, column 3."),
        ("a: 1\n---\nb: 1", "More than one document. Line 2, column 1."),
        ("a: [1", "This is not YAML. Line 2, column 1."),
        ("a: \x07", "This is not YAML: it has characters that cannot stand there."),
        ("[" * (MAX_DEPTH + 1), f"This is nested too deeply. Line 1, column {MAX_DEPTH + 1}."),
        ("[" * 100_000, "This is not YAML. Line 1, column 1001."),  # libyaml has a limit of its own
        ("1e999", "This number is too large. Line 1, column 1."),
    ],
)
def test_refused_yaml(text: str, message: str) -> None:
    """With the place, and nothing of what stands there."""
    with pytest.raises(DocumentUnreadable) as error:
        read_document(text.encode(), Format.YAML)
    assert error.value.message == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "A name stands twice in one object."),
        ('{"a": NaN}', "NaN and Infinity are no numbers of JSON."),
        ('{"a": 1', "This is not JSON. Line 1, column 8."),
        ("[" * 100_000, "This is not JSON."),
        ("[" * 13 + "]" * 13, "This is nested too deeply."),
        ("9" * 5000, "This is not JSON."),
    ],
)
def test_refused_json(text: str, message: str) -> None:
    """The same things."""
    with pytest.raises(DocumentUnreadable) as error:
        read_document(text.encode(), Format.JSON)
    assert error.value.message == message


@pytest.mark.parametrize("form", Format)
def test_other_bytes(form: Format) -> None:
    """Neither another encoding nor more than is read."""
    with pytest.raises(DocumentUnreadable, match="UTF-8"):
        read_document(b"\xff\xfe", form)
    with pytest.raises(DocumentTooLarge, match="12 MiB"):
        read_document(b" " * (MAX_DOCUMENT_BYTES + 1), form)


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("item", ["{},", "[],", "1,"])
def test_too_many_values(form: Format, item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes never become much memory: one document could take a gigabyte."""
    monkeypatch.setattr("hosts.exchange.reading.MAX_VALUES", 1000)
    assert len(read_document(f"[{item * 300}1]".encode(), form)) == 301
    with pytest.raises(DocumentTooLarge, match="More than 1000 values are not read"):
        read_document(f"[{item * 1001}1]".encode(), form)


def test_formats_by_file_name() -> None:
    """JSON by its name, else YAML."""
    assert [Format.of_file_name(name) for name in ("a.JSON", "a.yml", "a")] == [Format.JSON, Format.YAML, Format.YAML]
