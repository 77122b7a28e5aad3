"""The difference of two documents, field by field.

Laws of this module: documents are what the API shows, so no secret is in them; of a secret, a document says only
whether there is one and which. Of a list, items are compared at their places.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict


class Change(TypedDict):
    """One field, named as in problem documents, such as `upstreams[0].address`. What was not there is None."""

    field: str
    before: Any
    after: Any


def differences(before: Any, after: Any) -> list[Change]:
    """Every field in which two JSON documents differ, in the order of the documents."""
    return list(_differences(before, after, ""))


def _differences(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _differences(_item(before, index), _item(after, index), f"{path}[{index}]")
    elif before != after:
        yield Change(field=path, before=before, after=after)


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None
