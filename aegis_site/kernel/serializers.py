"""Serializers that all apps build upon.

Laws of this module: what a client sends is taken whole or refused; a value has the JSON type that the OpenAPI document
says, for a text that happens to look like a number is a mistake of the client that would surprise it later.
"""

import datetime
import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from aegis_site.kernel import filters
from aegis_site.kernel.certificates import CertificateFacts

M = TypeVar("M")


class Texts(serializers.ListField):
    """Texts, of which the OpenAPI document says what `document` says besides."""

    def __init__(self, *, document: dict[str, Any], **options: Any) -> None:
        super().__init__(required=False, **options)
        self.document = document


class StrictSerializer(serializers.Serializer[M]):
    """Refuses fields that it does not know, so that a misspelt or unsupported one is never dropped in silence.

    Fields that are only read may be sent back, as a client does that reads, changes and writes; they change nothing.
    """

    # Fields that a service demands, for the OpenAPI document: all errors of a request come at once from the services.
    demanded: tuple[str, ...] = ()

    # Fields that a representation has at times only, for the OpenAPI document.
    absent_at_times: tuple[str, ...] = ()

    default_error_messages = {"unknown_field": "This version of Aegis does not know this field."}

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """As the base class does it, but how each field is read is found out once: a list of hosts has thousands."""
        shown = {}
        for name, read, represent in self._readers:
            try:
                value = read(instance)
            except serializers.SkipField:
                continue
            shown[name] = None if value is None else represent(value)
        return shown

    @functools.cached_property
    def _readers(self) -> list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]:
        return [(str(field.field_name), _reader(field), field.to_representation) for field in self._readable_fields]

    def to_internal_value(self, data: Any) -> Any:
        refused = {**self._unknown(data), **self._missing(data), **self._mistyped(data)}
        try:
            value = super().to_internal_value(data)
        except exceptions.ValidationError as error:
            raise exceptions.ValidationError({**cast("dict[str, Any]", error.detail), **refused}) from error
        if refused:
            raise exceptions.ValidationError(refused)
        return value

    def _unknown(self, data: Any) -> dict[str, Any]:
        return {
            # A lone surrogate, which JSON can carry, could not be sent back.
            name.encode("utf-8", "replace").decode(): [
                exceptions.ErrorDetail(str(self.error_messages["unknown_field"]), code="unknown_field")
            ]
            for name in (data if isinstance(data, dict) else ())
            if name not in self.fields
        }

    def _missing(self, data: Any) -> dict[str, Any]:
        """A list is a whole one in a partial document too, and so are its items; DRF takes them for partial as well."""
        if not isinstance(self.parent, serializers.ListSerializer) or not getattr(self.root, "partial", False):
            return {}
        names = data if isinstance(data, dict) else ()
        return {
            str(field.field_name): [exceptions.ErrorDetail(str(field.error_messages["required"]), code="required")]
            for field in self._writable_fields
            if field.required and field.field_name not in names
        }

    def _mistyped(self, data: Any) -> dict[str, Any]:
        values = data if isinstance(data, dict) else {}
        found = {
            str(field.field_name): _type_errors(field, values[field.field_name])
            for field in self._writable_fields
            if field.field_name in values
        }
        return {name: errors for name, errors in found.items() if errors}


def _reader(field: serializers.Field[Any, Any, Any, Any]) -> Callable[[Any], Any]:
    """What gets a field's value from an object."""
    if type(field).get_attribute is not serializers.Field.get_attribute or len(field.source_attrs) != 1:
        return field.get_attribute
    (name,) = field.source_attrs

    def read(instance: Any) -> Any:
        value = getattr(instance, name, None)
        # Absent, or in a dict, or to be called: DRF knows what to do, and what to say.
        return field.get_attribute(instance) if value is None or callable(value) else value

    return read


def _type_errors(field: serializers.Field[Any, Any, Any, Any], value: Any) -> Any:
    """What is wrong with the JSON type of a value, in the shape of DRF's errors. Null is the field's own business."""
    if value is None:
        return None
    if isinstance(field, serializers.ListField):
        items = value if isinstance(value, list) else ()
        found = {index: errors for index, item in enumerate(items) if (errors := _type_errors(field.child, item))}
        return found or None
    if isinstance(field, serializers.IntegerField) and type(value) is int and not _is_open(field):
        return None  # however long it is, its bounds say more
    for kind, is_fit, wanted in _TYPES:
        if isinstance(field, kind):
            return None if is_fit(value) else [exceptions.ErrorDetail(wanted, code="invalid")]
    return None


def _is_open(field: serializers.IntegerField) -> bool:
    return field.min_value is None or field.max_value is None


def _is_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        # DRF hands such a one to float(), which raises what DRF does not expect.
        return abs(value) < _ENDLESS
    return isinstance(value, float)


_ENDLESS = 2**1023

_TYPES: list[tuple[type[serializers.Field[Any, Any, Any, Any]], Callable[[Any], bool], str]] = [
    (serializers.BooleanField, lambda value: isinstance(value, bool), "Must be a valid boolean."),
    (serializers.IntegerField, _is_number, "A valid integer is required."),
    (serializers.FloatField, _is_number, "A valid number is required."),
    (serializers.UUIDField, lambda value: isinstance(value, str), "Must be a valid UUID."),
    (
        serializers.CharField,
        lambda value: isinstance(value, str),
        "Not a valid string. What looks like a number or a truth value needs quotes.",
    ),
]


class MomentField(serializers.DateTimeField):
    """A date and time as the filters of lists take it; without an offset it is UTC."""

    def to_internal_value(self, value: Any) -> datetime.datetime:
        try:
            moment: datetime.datetime = filters.MomentField().clean(value)
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages, code="invalid") from error
        return moment


class QuerySerializer(serializers.Serializer[Any]):
    """The parameters of a query. They are texts: a boolean is `true` or `false`, an integer has digits and no more."""

    @classmethod
    def values_of(cls, request: Request) -> dict[str, Any]:
        """The values of a request's query, with defaults. Raises ValidationError."""
        # As a dict: in an HTML form, which a query looks like, a box that is absent would mean false.
        serializer = cls(data=request.query_params.dict())
        serializer.is_valid(raise_exception=True)
        return cast("dict[str, Any]", serializer.validated_data)

    def to_internal_value(self, data: Any) -> Any:
        for field in self._writable_fields:
            text = data.get(field.field_name)
            for kind, pattern, wanted in _QUERY_TYPES:
                if text is not None and isinstance(field, kind) and not re.fullmatch(pattern, text):
                    raise exceptions.ValidationError({str(field.field_name): wanted}, code="invalid")
        return super().to_internal_value(data)


# DRF takes `on`, `f` and `5.0` as well, which the OpenAPI document does not admit.
_QUERY_TYPES: list[tuple[type[serializers.Field[Any, Any, Any, Any]], str, str]] = [
    (serializers.BooleanField, "true|false", "true or false."),
    (serializers.IntegerField, "-?[0-9]{1,9}", "A whole number of at most nine digits."),
]


class CertificateFactsSerializer(serializers.Serializer[Any]):
    """`aegis_site.kernel.certificates.CertificateFacts`, to be read."""

    subject = serializers.CharField()
    issuer = serializers.CharField()
    serial_number = serializers.CharField()
    not_before = serializers.DateTimeField()
    not_after = serializers.DateTimeField()
    subject_alt_names = serializers.ListField(child=serializers.CharField())
    fingerprint_sha256 = serializers.CharField()
    key_type = serializers.CharField()
    key_bits = serializers.IntegerField()
    is_ca = serializers.BooleanField()

    def to_representation(self, instance: CertificateFacts) -> dict[str, Any]:
        return facts_document(instance)


def facts_document(facts: CertificateFacts) -> dict[str, Any]:
    """How the facts of a certificate are shown. A list of hosts has hundreds, most of them more than once."""
    return dict(_document(facts))


@functools.lru_cache(maxsize=4096)  # some 1 KB each
def _document(facts: CertificateFacts) -> dict[str, Any]:
    fields = CertificateFactsSerializer._declared_fields
    return {name: field.to_representation(getattr(facts, name)) for name, field in fields.items()}
