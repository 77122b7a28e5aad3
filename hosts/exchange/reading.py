"""Reads and writes documents of hosts as JSON and as YAML.

Laws of this module:
- Of YAML as little as JSON has: no tags, anchors, aliases or merge keys, and plain values mean what they mean in the
  core schema of YAML 1.2 (`no` is a text). So the two formats say the same, and a few bytes never become many.
- What is ambiguous is refused: a name that stands twice in a mapping, a number that is none (NaN).
- Size, depth and number of values are limited before anything is built. Errors name line and column, never what
  stands there.
"""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NoReturn

import yaml

from aegis_site.kernel.errors import AegisError

# A host with two certificates and a CA takes about 5 KB.
MAX_DOCUMENT_BYTES = 12 * 1024 * 1024
# The document of a host has four.
MAX_DEPTH = 12
# Ten thousand hosts have half of that. In memory a value may take twenty times its text.
MAX_VALUES = 1_000_000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")


class Format(StrEnum):
    """How a document is written."""

    JSON = "json"
    YAML = "yaml"

    @classmethod
    def of_file_name(cls, name: str) -> "Format":
        """JSON by its name, and else YAML."""
        return cls.JSON if name.lower().endswith(".json") else cls.YAML


class DocumentUnreadable(AegisError):
    """What was sent is no document at all."""


class DocumentTooLarge(AegisError):
    """More bytes than are read."""


def read_document(content: bytes, form: Format) -> Any:
    """The document in `content`, of JSON's types only. Raises DocumentUnreadable, DocumentTooLarge."""
    if len(content) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge("document_too_large", f"More than {MAX_DOCUMENT_BYTES // 2**20} MiB are not read.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable("This is not UTF-8.") from error
    return _read_json(text) if form is Format.JSON else _read_yaml(text)


def write_document(document: Any, form: Format) -> str:
    """The document as text: names in their order, texts of several lines (PEM) as blocks."""
    if form is Format.JSON:
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16)


class _Dumper(yaml.CSafeDumper):
    """Without aliases, which the reader refuses, and with blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def _read_json(text: str) -> Any:
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise _too_many()
    try:
        document = json.loads(text, object_pairs_hook=_mapping, parse_constant=_no_number)
    except (RecursionError, ValueError) as error:
        where = f" Line {error.lineno}, column {error.colno}." if isinstance(error, json.JSONDecodeError) else ""
        raise _unreadable(f"This is not JSON.{where}") from error
    _check_depth(document, 1)
    return document


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _unreadable("A name stands twice in one object.")
    return mapping


def _no_number(name: str) -> NoReturn:
    raise _unreadable("NaN and Infinity are no numbers of JSON.")


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise _unreadable("This is nested too deeply.")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth + 1)


def _read_yaml(text: str) -> Any:
    try:
        return _YAMLBuilder(yaml.parse(text, Loader=yaml.CSafeLoader)).build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" Line {mark.line + 1}, column {mark.column + 1}." if mark else ""
        raise _unreadable(f"This is not YAML.{where}") from error
    except yaml.YAMLError as error:
        raise _unreadable("This is not YAML: it has characters that cannot stand there.") from error


class _YAMLBuilder:
    """Builds values from the parser's events, so that nothing is built that a law forbids."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = _counted(events)

    def build(self) -> Any:
        """The one document of the stream."""
        documents = 0
        value: Any = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refused(event, "More than one document.")
                value = self._value(next(self._events), 1)
        return value

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._refused(event, "Anchors and aliases are not read.")
        if event.tag not in (None, "!"):
            raise self._refused(event, "Tags are not read.")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth > MAX_DEPTH:
            raise self._refused(event, "This is nested too deeply.")
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._value(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)]
        return self._mapping(depth)

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self._until(yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refused(event, "A name in a mapping is a text.")
            if event.value in mapping:
                raise self._refused(event, "A name stands twice in one mapping.")
            mapping[event.value] = self._value(next(self._events), depth + 1)
        return mapping

    def _until(self, end: type[Any]) -> Iterator[Any]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text  # quoted, or a block
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                raise self._refused(event, "This number is too large.")
            return number
        return text

    @staticmethod
    def _refused(event: Any, message: str) -> DocumentUnreadable:
        mark = event.start_mark
        return _unreadable(f"{message} Line {mark.line + 1}, column {mark.column + 1}.")


def _counted(events: Iterator[Any]) -> Iterator[Any]:
    for number, event in enumerate(events):
        if number > MAX_VALUES:
            raise _too_many()
        yield event


def _too_many() -> DocumentTooLarge:
    return DocumentTooLarge("document_too_large", f"More than {MAX_VALUES} values are not read.")


def _unreadable(message: str) -> DocumentUnreadable:
    return DocumentUnreadable("document_unreadable", message)
