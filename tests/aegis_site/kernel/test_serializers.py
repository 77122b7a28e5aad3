"""Strict documents."""

from typing import Any

import pytest
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from aegis_site.kernel.serializers import QuerySerializer, StrictSerializer


class Inner(StrictSerializer[Any]):
    number = serializers.IntegerField(required=False)


class Outer(StrictSerializer[Any]):
    text = serializers.CharField()
    shown = serializers.CharField(read_only=True)
    inner = Inner(many=True, required=False)


def test_unknown_fields_are_refused_wherever_they_stand() -> None:
    """Every unknown field is an error at its place, beside the other errors."""
    serializer = Outer(data={"txt": "x", "inner": [{"number": 1}, {"weight": 2}]})
    assert not serializer.is_valid()
    assert set(serializer.errors) == {"text", "txt", "inner"}
    assert serializer.errors["txt"] == ["This version of Aegis does not know this field."]
    assert serializer.errors["txt"][0].code == "unknown_field"
    assert {index: set(item) for index, item in serializer.errors["inner"].items()} == {1: {"weight"}}


def test_what_was_read_can_be_sent_back() -> None:
    """Fields that are only read are accepted and change nothing."""
    serializer = Outer(data={"text": "x", "shown": "y"})
    serializer.is_valid(raise_exception=True)
    assert serializer.validated_data == {"text": "x"}


@pytest.mark.parametrize("data", [[], "text", None, 1])
def test_documents_that_are_no_objects(data: Any) -> None:
    """Anything but an object is a validation error."""
    serializer = Outer(data={"text": "x", "inner": [data]})
    with pytest.raises(exceptions.ValidationError):
        serializer.is_valid(raise_exception=True)


def test_a_field_name_that_cannot_be_sent_back() -> None:
    """A lone surrogate in a field's name does not break the answer."""
    serializer = Outer(data={"text": "x", "a\ud800": 1})
    assert not serializer.is_valid()
    assert list(serializer.errors) == ["a?"]


class Item(StrictSerializer[Any]):
    name = serializers.CharField()
    note = serializers.CharField(required=False)


class Listing(StrictSerializer[Any]):
    title = serializers.CharField()
    items = Item(many=True, required=False)
    first = Item(required=False)


def test_items_are_whole_in_a_partial_document() -> None:
    """A list is replaced as a whole, so its items are whole; what is nested by itself may be partial."""
    Listing(data={"first": {}}, partial=True).is_valid(raise_exception=True)
    Listing(data={"items": [{"name": "a"}]}, partial=True).is_valid(raise_exception=True)
    serializer = Listing(data={"items": [{"name": "a"}, {"note": "b"}]}, partial=True)
    assert not serializer.is_valid()
    assert [error.code for error in serializer.errors["items"][1]["name"]] == ["required"]


class Typed(StrictSerializer[Any]):
    text = serializers.CharField(required=False, allow_null=True)
    truth = serializers.BooleanField(required=False)
    count = serializers.IntegerField(required=False)
    share = serializers.FloatField(required=False)
    identifier = serializers.UUIDField(required=False)
    names = serializers.ListField(child=serializers.CharField(), required=False)
    port = serializers.IntegerField(required=False, min_value=1, max_value=65535)


@pytest.mark.parametrize(
    "document",
    [
        {"text": None},
        {"text": "5", "truth": True, "count": 5, "share": 5, "names": ["a"]},
        {"count": 5.0, "share": 0.5, "identifier": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_values_of_the_documented_type(document: dict[str, Any]) -> None:
    """5.0 is an integer in JSON, and 5 a number."""
    Typed(data=document).is_valid(raise_exception=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 5),
        ("text", True),
        ("text", ["x"]),
        ("truth", "true"),
        ("truth", 1),
        ("count", "5"),
        ("count", True),
        ("count", 5.5),
        ("count", 10**400),
        ("share", "0.5"),
        ("share", False),
        ("share", 10**400),
        ("identifier", 7),
        ("names", "a"),
    ],
)
def test_values_of_another_type(name: str, value: Any) -> None:
    """What would have to be converted is refused, at its place and without a crash."""
    serializer = Typed(data={name: value})
    assert not serializer.is_valid()
    assert list(serializer.errors) == [name]
    assert [error.code for error in serializer.errors[name]] in (["invalid"], ["not_a_list"])


def test_items_of_another_type() -> None:
    """Each at its index."""
    serializer = Typed(data={"names": ["a", 5, "b", None]})
    assert not serializer.is_valid()
    assert set(serializer.errors["names"]) == {1}


def test_a_number_far_out_of_its_bounds() -> None:
    """Is told the bound, however long it is."""
    for value, code in ((10**400, "max_value"), (-(10**400), "min_value"), (0, "min_value")):
        serializer = Typed(data={"port": value})
        assert not serializer.is_valid()
        assert [error.code for error in serializer.errors["port"]] == [code]


class Query(QuerySerializer):
    truth = serializers.BooleanField(required=False)
    count = serializers.IntegerField(default=3, min_value=0)


def query(**parameters: str) -> Any:
    return Query.values_of(Request(APIRequestFactory().get("/", parameters)))


def test_values_of_a_query() -> None:
    """As the texts say; what is absent has its default, or is absent."""
    assert query() == {"count": 3}
    assert query(truth="true", count="5", other="x") == {"truth": True, "count": 5}
    assert query(truth="false")["truth"] is False


@pytest.mark.parametrize("text", ["", "True", "1", "on", "\x00"])
def test_what_is_neither_true_nor_false(text: str) -> None:
    """Is refused at its parameter."""
    with pytest.raises(exceptions.ValidationError) as raised:
        query(truth=text)
    assert raised.value.get_codes() == {"truth": "invalid"}


@pytest.mark.parametrize("text", ["", " 5", "5.0", "\u0663", "+5", "1" * 400, "-1"])
def test_what_is_no_number_of_a_query(text: str) -> None:
    """Is refused at its parameter."""
    with pytest.raises(exceptions.ValidationError) as raised:
        query(count=text)
    assert list(raised.value.get_codes()) == ["count"]


class Shown(StrictSerializer[Any]):
    text = serializers.CharField(read_only=True)
    called = serializers.CharField(read_only=True)
    nested = serializers.CharField(source="inner.text", read_only=True)
    made = serializers.SerializerMethodField()
    absent = serializers.CharField(required=False)
    default = serializers.CharField(default="d")
    nothing = serializers.CharField(read_only=True, allow_null=True)

    def get_made(self, thing: Any) -> str:
        return f"made of {thing if isinstance(thing, dict) else thing.text}"


class Thing:
    text = "x"
    nothing = None

    @property
    def inner(self) -> "Thing":
        return self

    def called(self) -> str:
        return "called"


def test_what_is_shown_is_what_the_base_class_shows() -> None:
    """Of objects and of dicts: attributes, methods, paths, defaults, and what is not there."""
    values = {"text": "x", "nothing": None, "inner": {"text": "y"}, "called": "z"}
    for thing in (Thing(), values):
        serializer = Shown(thing)
        assert serializer.data == serializers.Serializer.to_representation(serializer, thing)
    assert Shown(Thing()).data["called"] == "called"
    assert "absent" not in Shown(Thing()).data


def test_a_field_without_its_attribute() -> None:
    """Is the programmer's mistake, as in the base class."""
    with pytest.raises(AttributeError, match="Got AttributeError when attempting to get a value for field `text`"):
        _ = Outer(object()).data
