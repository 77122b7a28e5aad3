"""The difference of two documents."""

from typing import Any

import pytest

from aegis_site.kernel.audit.changes import differences


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({}, {"a": {"b": 1}}, [("a", None, {"b": 1})]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a.c", 2, 3)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a[1]", 2, None)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}, {"b": 3}]}, [("a[0].b", 1, 2), ("a[1]", None, {"b": 3})]),
    ],
)
def test_differences(before: Any, after: Any, expected: list[tuple[str, Any, Any]]) -> None:
    """Each field that differs, under its path."""
    assert [(change["field"], change["before"], change["after"]) for change in differences(before, after)] == expected
