"""Which host an entry is about."""

import uuid

from hosts.exchange.matching import match_entries
from hosts.models import Host

ORDERS, SHOP = Host(name="orders"), Host(name="shop")


def matched(*entries: dict[str, object]) -> list[Host | None]:
    return [match.stored for match in match_entries(entries, [ORDERS, SHOP])]


def test_by_id_and_else_by_name() -> None:
    """An id that nobody has does not hinder."""
    assert matched({"id": str(ORDERS.pk), "name": "renamed"}, {"name": " shop "}) == [ORDERS, SHOP]
    assert matched({"id": str(uuid.uuid4()), "name": "shop"}, {"name": "other"}) == [SHOP, None]


def test_a_name_that_is_given_up_is_free() -> None:
    """When another entry has the id of its host, the name means a new one."""
    assert matched({"name": "orders"}, {"id": str(ORDERS.pk), "name": "renamed"}) == [None, ORDERS]


def test_two_entries_about_one_host() -> None:
    """The second is refused, at what it was found by."""
    new = str(uuid.uuid4())
    for first, second, field in (
        ({"name": "orders"}, {"name": "orders"}, "name"),
        ({"id": str(ORDERS.pk)}, {"id": str(ORDERS.pk)}, "id"),
        ({"id": new, "name": "a"}, {"id": new, "name": "b"}, "id"),
    ):
        matches = match_entries([first, second], [ORDERS])
        assert [list(match.errors) for match in matches] == [[], [field]]
        assert matches[1].errors[field][0].code == "duplicate"


def test_what_is_no_id() -> None:
    """Is an error at `id`; other shapes are left to the serializer."""
    for value in ("x", 7, [], "0" * 4000):
        assert list(match_entries([{"id": value, "name": 3, "domains": {}}], [])[0].errors) == ["id"]


def test_domains_as_they_will_be_stored() -> None:
    """What is no domain is none."""
    match = match_entries([{"domains": ["A.example.com.", "a b", 7]}], [])[0]
    assert "a.example.com" in match.domains
    assert "a b" not in match.domains
