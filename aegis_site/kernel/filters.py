"""Filters, search and order of lists in the API.

Laws of this module: a value that cannot be used is refused at its parameter; no filter is ever dropped in silence.
"""

import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django_filters import fields
from django_filters import rest_framework as filters
from rest_framework import exceptions
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.request import Request
from rest_framework.views import APIView

MAX_TEXT_CHARACTERS = 300

_TRUTHS = {"true": True, "false": False}


class Filters(filters.DjangoFilterBackend):
    """The view's `filterset_class`."""


class Search(SearchFilter):
    """`?search=`: words, all of which must be found somewhere in the view's `search_fields`."""

    search_description = "Words that all must occur, in any case."

    def get_search_terms(self, request: Request) -> Any:
        text = request.query_params.get(self.search_param, "")
        # PostgreSQL takes no NUL.
        if len(text) > MAX_TEXT_CHARACTERS or "\x00" in text:
            message = f"At most {MAX_TEXT_CHARACTERS} characters, none of them NUL."
            raise exceptions.ValidationError({self.search_param: message}, code="invalid")
        return super().get_search_terms(request)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        (parameter,) = super().get_schema_operation_parameters(view)
        parameter["schema"]["maxLength"] = MAX_TEXT_CHARACTERS
        return [parameter]


class Ordering(OrderingFilter):
    """`?ordering=`: names of the view's `ordering_fields`, with `-` in front for the reverse, separated by commas."""

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: APIView, request: Request) -> Any:
        valid = [name for name, _ in self.get_valid_fields(queryset, view, {"request": request})]
        for field in fields:
            if field.removeprefix("-") not in valid:
                message = f"A list is ordered by {', '.join(valid)}; a - in front reverses it."
                raise exceptions.ValidationError({self.ordering_param: message}, code="invalid")
        return fields

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        (parameter,) = super().get_schema_operation_parameters(view)
        name = f"-?({'|'.join(view.ordering_fields)})"
        parameter["schema"]["pattern"] = f"^({name}(,{name})*)?$"
        parameter["description"] = f"By {', '.join(view.ordering_fields)}; a - in front reverses; commas separate."
        return [parameter]


class TruthField(forms.CharField):
    """`true` or `false`."""

    def clean(self, value: Any) -> Any:
        return None if value is None else _looked_up(value)


def _looked_up(text: str) -> bool:
    if text not in _TRUTHS:
        raise ValidationError("true or false.", code="invalid")
    return _TRUTHS[text]


class BooleanFilter(filters.BooleanFilter):
    """A filter by `true` or `false`; django-filter's own ignores anything else."""

    field_class = TruthField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"widget": forms.TextInput, **kwargs})


class MomentField(forms.CharField):
    """A date and time (RFC 3339); without an offset it is UTC."""

    def clean(self, value: Any) -> Any:
        return None if value is None else _moment(value)


def _moment(text: str) -> datetime.datetime:
    try:
        moment = parse_datetime(text.upper())
        if moment is not None:
            aware = timezone.make_aware(moment, datetime.UTC) if timezone.is_naive(moment) else moment
            return aware.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        pass  # no such day, or one that no calendar of ours reaches in UTC
    raise ValidationError("A date and time such as 2026-05-01T12:00:00Z.", code="invalid")


class ChoiceField(fields.ChoiceField):
    """One of several words."""

    def clean(self, value: Any) -> Any:
        if value == "":
            raise ValidationError("One of the words that are admitted here.", code="invalid_choice")
        return super().clean(value)


class ChoiceFilter(filters.ChoiceFilter):
    """A filter by one of several words; an empty one is none of them."""

    field_class = ChoiceField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"empty_label": None, **kwargs})


class IdentifierField(forms.UUIDField):
    """A UUID; an empty one is none."""

    def clean(self, value: Any) -> Any:
        if value == "":
            raise ValidationError("Enter a valid UUID.", code="invalid")
        return super().clean(value)


class IdentifierFilter(filters.UUIDFilter):
    """A filter by a UUID; django-filter's own ignores an empty one."""

    field_class = IdentifierField


class MomentFilter(filters.IsoDateTimeFilter):
    """A filter by a moment."""

    field_class = MomentField


class TextFilter(filters.CharFilter):
    """A filter by a text of bounded length."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": MAX_TEXT_CHARACTERS, **kwargs})
