"""Field rules that requests and responses share."""

import pytest

from proxyworker.protocol.fields import connection_options, content_length, list_members, set_apart, without


def test_judged_fields_are_set_apart_whatever_their_case() -> None:
    """Judged names leave the list with all their values, in order; other lines stay as they came."""
    kept, judged = set_apart([b"A: 1", b"CONNECTION: x", b"b:2 ", b"connection:\ty "], frozenset((b"connection",)))
    assert kept == [b"A: 1", b"b:2 "]
    assert judged == {b"connection": [b"x", b"y"]}


def test_list_members_cover_all_field_lines() -> None:
    """A list field is one list over all its lines; empty members do not count."""
    assert list_members([b"Close, ,", b"\tX-A ,y"]) == [b"close", b"x-a", b"y"]


def test_without_compares_names_in_lower_case() -> None:
    """A named field is removed in any spelling."""
    assert without([b"X-A: 1", b"x-a: 2", b"X-Ab: 3"], frozenset((b"x-a",))) == [b"X-Ab: 3"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"0"], 0),
        ([b"17"], 17),
        ([b"9" * 18], 10**18 - 1),
        ([b"9" * 19], None),
        ([b"5", b"5"], None),
        ([b"+5"], None),
        ([b"-1"], None),
        ([b"0x5"], None),
        ([b"5, 5"], None),
        ([b""], None),
        ([b"\xd9\xa5"], None),
    ],
)
def test_content_length_is_one_plain_decimal_number(values: list[bytes], expected: int | None) -> None:
    """Anything but one plain decimal number tells no length."""
    assert content_length(values) == expected


def test_connection_options_are_read_over_all_lines() -> None:
    """All options in lower case, and apart those that name fields which are not hop-by-hop anyway."""
    options, named = connection_options([b"Close, X-A", b"keep-alive ,TE"])
    assert options == {b"close", b"x-a", b"keep-alive", b"te"}
    assert named == {b"x-a"}
