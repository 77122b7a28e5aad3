"""The formats of the OpenAPI document."""

import re
from collections.abc import Iterator
from typing import Any

from aegis_site.api_document import api_document
from aegis_site.environment import BASE_DIR
from aegis_site.kernel.text_formats import FORMATS

# Those of OpenAPI and JSON Schema.
STANDARD = {"uuid", "date-time", "time", "byte", "binary", "double", "uri", "uri-reference", "int64"}


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document that has a format."""
    if isinstance(part, dict):
        if isinstance(part.get("format"), str):
            yield part
        part = list(part.values())
    for item in part if isinstance(part, list) else ():
        yield from schemas(item)


def test_every_format_is_known_and_described() -> None:
    """Where a field has no description of its own, it has that of its format; none is left over."""
    found = [schema for schema in schemas(api_document()) if schema["format"] not in STANDARD]
    assert {schema["format"] for schema in found} == FORMATS.keys()
    assert all(schema["description"] for schema in found)


def test_the_page_has_each_of_them() -> None:
    """docs/api.md, in the same words."""
    page = (BASE_DIR / "docs" / "api.md").read_text()
    assert dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", page.partition("| format |")[2], re.MULTILINE)) == FORMATS
