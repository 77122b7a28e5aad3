"""What every view of `/api/v1` is made of.

Laws of this module: a path works with and without its trailing slash and never redirects; what a client sends is taken
whole or refused; a change can be bound to the representation that the client saw.
"""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, re_path
from django.utils.http import parse_etags
from rest_framework import exceptions, serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter

M = TypeVar("M")


class Router(SimpleRouter):
    """Routes of view sets, with and without trailing slash."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


def route(path: str, view: Callable[..., HttpResponseBase], *, name: str) -> URLPattern:
    """The route of one view, with and without trailing slash. `path` is a regular expression without anchors."""
    return re_path(rf"^{path}/?$", view, name=name)


class StrictSerializer(serializers.Serializer[M]):
    """Refuses fields that it does not know, so that a misspelt or unsupported one is never dropped in silence.

    Fields that are only read may be sent back, as a client does that reads, changes and writes; they change nothing.
    """

    default_error_messages = {"unknown_field": "This version of Aegis does not know this field."}

    def to_internal_value(self, data: Any) -> Any:
        unknown = {
            # A lone surrogate, which JSON can carry, could not be sent back.
            name.encode("utf-8", "replace").decode(): [
                exceptions.ErrorDetail(str(self.error_messages["unknown_field"]), code="unknown_field")
            ]
            for name in (data if isinstance(data, dict) else ())
            if name not in self.fields
        }
        try:
            value = super().to_internal_value(data)
        except exceptions.ValidationError as error:
            raise exceptions.ValidationError({**cast("dict[str, Any]", error.detail), **unknown}) from error
        if unknown:
            raise exceptions.ValidationError(unknown)
        return value


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


class PreconditionFailed(exceptions.APIException):
    """The representation is no longer the one that the client saw."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"
    default_detail = "It was changed meanwhile. Read it again and retry."


def etag_of(representation: Any) -> str:
    """The strong ETag of what a client is shown."""
    return f'"{hashlib.sha256(JSONRenderer().render(representation)).hexdigest()[:32]}"'


def check_if_match(request: HttpRequest | Request, current: str) -> None:
    """Honours If-Match. Raises PreconditionFailed when the client's ETag is not the current one."""
    field_value = request.META.get("HTTP_IF_MATCH")
    # `*` asks for any representation, and there is one. A weak ETag never matches (RFC 9110 section 13.1.1).
    if field_value and field_value.strip() != "*" and current not in parse_etags(field_value):
        raise PreconditionFailed
