"""Routes, strict documents and ETags."""

from typing import Any

import pytest
from django.test import Client
from django.urls import resolve
from rest_framework import exceptions, serializers
from rest_framework.test import APIRequestFactory

from aegis_site.kernel.api import PreconditionFailed, StrictSerializer, check_if_match, etag_of

IDENTIFIER = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("path", ["hosts", f"hosts/{IDENTIFIER}", "ca", "ca/trust-bundle", "workers"])
def test_paths_with_and_without_trailing_slash(path: str) -> None:
    """Both spellings lead to the same view."""
    with_slash, without = resolve(f"/api/v1/{path}/"), resolve(f"/api/v1/{path}")
    assert with_slash.url_name == without.url_name
    assert without.url_name is not None


@pytest.mark.django_db
@pytest.mark.parametrize("slash", ["", "/"])
def test_writes_are_never_redirected(admin_client: Client, slash: str) -> None:
    """A POST or PUT is answered where it was sent."""
    assert admin_client.post(f"/api/v1/hosts{slash}", {}, content_type="application/json").status_code == 400
    put = admin_client.put(f"/api/v1/hosts/{IDENTIFIER}{slash}", {}, content_type="application/json")
    assert put.status_code == 404


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


def test_etags() -> None:
    """Equal representations have equal strong ETags, others do not."""
    assert etag_of({"a": 1}) == etag_of({"a": 1})
    assert etag_of({"a": 1}) != etag_of({"a": 2})
    assert etag_of({}).startswith('"')
    assert etag_of({}).endswith('"')


@pytest.mark.parametrize("field_value", [None, "", "*", '"now"', '"other", "now"'])
def test_preconditions_that_hold(field_value: str | None) -> None:
    """No If-Match, any, or a list with the current ETag: go on."""
    headers = {} if field_value is None else {"HTTP_IF_MATCH": field_value}
    check_if_match(APIRequestFactory().put("/", **headers), '"now"')


@pytest.mark.parametrize("field_value", ['"then"', 'W/"now"', "now", '"a", "b"'])
def test_preconditions_that_fail(field_value: str) -> None:
    """Another ETag, a weak one, or nonsense: 412, for a lost update is worse than a repetition."""
    with pytest.raises(PreconditionFailed) as raised:
        check_if_match(APIRequestFactory().put("/", HTTP_IF_MATCH=field_value), '"now"')
    assert raised.value.status_code == 412
