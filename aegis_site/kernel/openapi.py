"""How the views of `/api/v1` describe themselves in the OpenAPI document.

Laws of this module: the document says what every view does without being told (problems, ETags, preconditions, keys);
what a view does besides, it says with `extend_schema`. A query parameter that the document does not name is refused.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as SpectacularAutoSchema
from drf_spectacular.plumbing import ComponentRegistry
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from aegis_site.kernel.api_policy import DownloadNegotiation
from aegis_site.kernel.idempotency.services import KEY_PATTERN
from aegis_site.kernel.problems import PROBLEM_MEDIA_TYPE
from aegis_site.kernel.serializers import StrictSerializer
from aegis_site.kernel.text_formats import FORMATS

JSON = dict[str, Any]

_ETAG: JSON = {"ETag": {"schema": {"type": "string"}, "description": "Strong; for If-Match and If-None-Match."}}
_LOCATION: JSON = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
_CHALLENGE: JSON = {"WWW-Authenticate": {"schema": {"type": "string"}}}

# PostgreSQL takes no NUL.
_TEXT = r"^[^\x00]*$"

# Why each problem arises, for readers of the document.
_REASONS = {
    400: "A value, a field, a query parameter or the JSON itself cannot be accepted; `errors` names each.",
    401: "No credentials, or bad ones.",
    403: "The user, or the token, may not do this.",
    404: "There is no such thing.",
    406: "No accepted media type can be given.",
    409: "The state of the installation does not admit it.",
    412: "It was changed since the client read it.",
    411: "The body has no Content-Length.",
    413: "The request body is too large.",
    415: "The request body has another media type.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests of this kind.",
    503: "Something that Aegis needs does not answer.",
}


class FieldErrorSerializer(serializers.Serializer[Any]):
    """One thing that is wrong."""

    field = serializers.CharField(help_text="Its path, such as `upstreams[0].address`; empty: no field is to blame.")
    code = serializers.CharField(help_text="Stable.")
    message = serializers.CharField(help_text="For people.")


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem document (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]  # DRF's own is the instance's


class TokenScheme(OpenApiAuthenticationExtension):
    """API tokens."""

    target_class = "knox.auth.TokenAuthentication"
    match_subclasses = True
    priority = 1
    name = "token"

    def get_security_definition(self, auto_schema: SpectacularAutoSchema) -> JSON:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Token …`"}


class AutoSchema(SpectacularAutoSchema):
    """DRF's DEFAULT_SCHEMA_CLASS."""

    def get_summary(self) -> str | None:
        """The first sentence of the description, unless the view has another."""
        summary: str | None = super().get_summary()
        return summary or re.split(r"[.:;]\s|[.:;]$", self.get_description())[0]

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        """What is called a request already is not called so twice."""
        name: str = super()._get_serializer_name(serializer, direction, bypass_extensions)
        return name.replace("RequestRequest", "Request")

    def _get_parameters(self) -> list[JSON]:
        found: list[JSON] = super()._get_parameters()
        for parameter in found:
            schema = parameter["schema"]
            if parameter["in"] == "path":
                parameter.setdefault("description", "As the list and the answer to its POST have it.")
            if parameter["in"] == "query" and schema.get("type") == "string" and schema.keys() <= {"type", "maxLength"}:
                schema["pattern"] = _TEXT
        return [*found, *self._header_parameters()]

    def _header_parameters(self) -> list[JSON]:
        if self.method == "POST":
            description = "The request is done once; whoever sends it again gets the first answer, for 24 hours."
            return [_header("Idempotency-Key", description, pattern=f"^{KEY_PATTERN}$")]
        description = "ETags of the representation that the client has."
        none_match = _header("If-None-Match", f"{description} They match: 304, or 412 for a change.")
        return [none_match, _header("If-Match", f"{description} None of them is the current one: 412.")]

    def _get_request_for_media_type(self, serializer: Any, direction: Any = "request") -> Any:
        schema, is_required = super()._get_request_for_media_type(serializer, direction)  # type: ignore[no-untyped-call]
        return schema, is_required or getattr(serializer, "is_body_required", False)

    def _get_response_bodies(self, direction: Any = "response") -> JSON:
        responses: JSON = super()._get_response_bodies(direction)
        for status in self._problem_statuses():
            responses.setdefault(str(status), self._get_response_for_code(ProblemSerializer, str(status)))
        if self.method == "GET":
            responses["304"] = {"description": "The client has the current representation.", "headers": _ETAG}
        for code, headers in (("200", {} if self.method == "POST" else _ETAG), ("201", _LOCATION), ("401", _CHALLENGE)):
            if headers and code in responses:
                responses[code].setdefault("headers", {}).update(headers)
        return dict(sorted(responses.items()))

    def _get_response_for_code(
        self, serializer: Any, status_code: str, media_types: Any = None, direction: Any = "response"
    ) -> JSON:
        if int(status_code) < HTTPStatus.BAD_REQUEST:
            shown: JSON = super()._get_response_for_code(  # type: ignore[no-untyped-call]
                serializer, status_code, media_types, direction
            )
            return shown
        component = self.resolve_serializer(ProblemSerializer, "response")
        description = getattr(serializer, "description", "") or _REASONS[int(status_code)]
        return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": component.ref}}}

    def _problem_statuses(self) -> list[int]:
        statuses = [400, 412, 503]
        if not issubclass(self.view.content_negotiation_class, DownloadNegotiation):
            statuses.append(406)
        if AllowAny not in self.view.permission_classes:
            statuses += [401, 403]
        if "{" in self.path or self._is_list_view():
            statuses.append(404)
        if self.method != "GET":
            statuses.append(409)
        if self.method in ("POST", "PUT", "PATCH"):
            statuses += [411, 413, 415]
        if self.method == "POST":
            statuses = [status for status in statuses if status != 412] + [422, 429]
        return statuses

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> JSON:
        """With what a field says about itself in `document`: bounds that are checked elsewhere. So do serializers."""
        schema: JSON = super()._map_serializer_field(  # type: ignore[no-untyped-call]
            field, direction, bypass_extensions
        )
        if not schema or isinstance(field, serializers.Serializer):
            return schema
        own = getattr(field, "document", {})
        meaning = FORMATS.get(own.get("format", ""))
        return {**({"description": meaning} if meaning else {}), **schema, **own}

    def _insert_field_validators(self, field: Any, schema: JSON) -> None:
        """Of texts that may be empty, spectacular makes a `oneOf` of the format and of nothing.

        Our own formats include the empty text where a field may be cleared: whoever does not know a format, and so
        takes every text for valid, would find an empty one to be two of them, and refuse it.
        """
        own = {name: schema.pop(name) for name in getattr(field, "document", ()) if name in schema}
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]
        schema.update(own)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> JSON:
        schema: JSON = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "response" and schema.get("properties"):
            # Whatever may be left out of a request, a representation is whole; what is there only at times is
            # `required=False` in a serializer that takes no requests.
            schema["required"] = sorted(set(schema["properties"]) - _absent_at_times(serializer))
        elif isinstance(serializer, StrictSerializer):
            schema["additionalProperties"] = False
            if serializer.demanded and not serializer.partial:
                schema["required"] = sorted({*schema.get("required", ()), *serializer.demanded})
        return {**schema, **getattr(serializer, "document", {})}


def _absent_at_times(serializer: Any) -> set[str]:
    if isinstance(serializer, StrictSerializer):
        return set(serializer.absent_at_times)
    return {name for name, field in serializer.fields.items() if not field.required and not field.read_only}


def query_parameters(view: APIView, request: Request) -> frozenset[str]:
    """The names that the document gives for the query of a request to this view."""
    method = "GET" if request.method == "HEAD" else str(request.method)
    key = (type(view), getattr(view, "action", None), method)
    if key not in _known:
        handler = getattr(view, getattr(view, "action", None) or method.lower())
        schema_class = getattr(handler, "kwargs", {}).get("schema") or view.schema
        schema = (schema_class if isinstance(schema_class, type) else type(schema_class))()
        schema.view, schema.method, schema.path, schema.registry = view, method, "", ComponentRegistry()
        parameters = schema._get_parameters()
        _known[key] = frozenset(parameter["name"] for parameter in parameters if parameter["in"] == "query")
    return _known[key]


# Of classes, whose number is that of the routes.
_known: dict[tuple[type[APIView], str | None, str], frozenset[str]] = {}


def check_query(view: APIView, request: Request) -> None:
    """Refuses query parameters that the view does not know: a misspelt filter must not show everything."""
    names = request.query_params.keys()
    if unknown := names - query_parameters(view, request) if names else set():
        message = "There is no such query parameter here."
        raise exceptions.ValidationError(dict.fromkeys(sorted(unknown), message), code="unknown_parameter")


def plain_paths(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """spectacular's preprocessing hook: every path once, without the trailing slash, and no catch-all."""
    found = {
        (path.rstrip("/"), method): (path.rstrip("/"), path_regex, method, callback)
        for path, path_regex, method, callback in endpoints
        if getattr(callback.cls, "is_in_document", True)
    }
    return list(found.values())


def link_operations(result: JSON, generator: Any, request: Any, public: bool) -> JSON:
    """spectacular's postprocessing hook: what was made links to all that can be done with it, by its `id`.

    A thing that is made below another one keeps that one's parameters.
    """
    paths = result["paths"]
    for path, operations in paths.items():
        made = operations.get("post", {}).get("responses", {}).get("201")
        one = _path_of_one(path, paths)
        if made is None or one is None:
            continue
        *above, own = re.findall(r"{(\w+)}", one)
        made["links"] = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {
                    **{name: f"$request.path.{name}" for name in above},
                    own: "$response.body#/id",
                },
                "description": operation["summary"],
            }
            for other, found in paths.items()
            if (other == one or other.startswith(f"{one}/")) and other.count("{") == one.count("{")
            for operation in found.values()
        }
    return result


def _path_of_one(path: str, paths: Iterable[str]) -> str | None:
    """Where the things are that a POST to `path` makes: below it, else, as a renewal's, in its collection."""
    below = [other for other in paths if re.fullmatch(rf"{re.escape(path)}/{{\w+}}", other)]
    one = below[0] if below else path.partition("/{")[0] + "/{id}"
    return one if one in paths else None


def _header(name: str, description: str, **schema: Any) -> JSON:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}
