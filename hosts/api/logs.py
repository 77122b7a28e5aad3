"""Access and error logs in the HTTP API: of one host, of all hosts, and of one request by its id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.serializers import MomentField, QuerySerializer
from hosts.logs.downloads import document
from hosts.logs.files import LogsUnreadable, log_directory, log_files
from hosts.logs.filters import MAX_TEXT_CHARACTERS, REQUEST_ID_PATTERN, STATUS_PATTERN, LogFilter, View
from hosts.logs.models import Log
from hosts.logs.search import KEY_PATTERN, Found, TooManySearches, search
from hosts.logs.traces import Trace, trace_of
from hosts.models import Host
from proxyworker.log_files import stem_of
from upstream_tls.tls.meanings import meaning_of

DEFAULT_LINES = 100
MAX_LINES = 500


class NoLogs(exceptions.APIException):
    """The log goes elsewhere, or cannot be read."""

    status_code = status.HTTP_409_CONFLICT


def _text() -> serializers.CharField:
    return serializers.CharField(required=False, allow_blank=True, max_length=MAX_TEXT_CHARACTERS)


class CursorQuerySerializer(QuerySerializer):
    """Where to go on: `next_cursor` of the answer before."""

    cursor = serializers.RegexField(f"^{KEY_PATTERN}$", required=False)


class LogQuerySerializer(CursorQuerySerializer):
    """Which lines. `path` and `upstream` are parts of the value, `client` is its beginning.

    `view` requests: the access log; errors: what of it failed, and the failed attempts at upstreams.
    """

    view = serializers.ChoiceField(choices=View.choices, required=False)
    since = MomentField(required=False)
    until = MomentField(required=False)
    status = serializers.RegexField(f"^{STATUS_PATTERN}$", required=False)
    method = _text()
    path = _text()
    client = _text()
    upstream = _text()
    code = _text()
    request_id = serializers.RegexField(f"^{REQUEST_ID_PATTERN}$", required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LINES, default=DEFAULT_LINES)


class LogLineSerializer(serializers.Serializer[Any]):
    """A line; null is what it does not say. `kind` attempt: one at an upstream that failed, with phase and reason.

    `code` of a request is that of its last failed attempt, also when a later one succeeded.
    """

    time = serializers.DateTimeField()
    kind = serializers.ChoiceField(choices=["request", "attempt"])
    host = serializers.CharField(allow_null=True)
    request_id = serializers.CharField(allow_null=True)
    client = serializers.CharField(allow_null=True)
    scheme = serializers.CharField(allow_null=True)
    method = serializers.CharField(allow_null=True)
    target = serializers.CharField(allow_null=True)
    protocol = serializers.CharField(allow_null=True)
    status = serializers.IntegerField(allow_null=True)
    bytes_received = serializers.IntegerField(allow_null=True)
    bytes_sent = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    upstream = serializers.CharField(allow_null=True)
    upstream_status = serializers.IntegerField(allow_null=True)
    attempts = serializers.IntegerField(allow_null=True)
    upstream_connect_ms = serializers.IntegerField(allow_null=True)
    upstream_tls_ms = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_null=True)
    phase = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    referer = serializers.CharField(allow_null=True)
    user_agent = serializers.CharField(allow_null=True)


class LogPageSerializer(serializers.Serializer[Any]):
    """Lines, newest first. `next_cursor` null: there are no more.

    A page takes about two seconds at most: it may have few lines or none, and go on all the same. Everything newer than
    `searched_to` was looked at.
    """

    results = LogLineSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    searched_to = serializers.DateTimeField(allow_null=True)


class LogFailureSerializer(serializers.Serializer[Any]):
    """A failed attempt at an upstream. `cause` and `fix` are those of docs/diagnosis.md; null: the code says all."""

    host = serializers.CharField()
    upstream = serializers.CharField()
    phase = serializers.CharField()
    code = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
    cause = serializers.CharField(allow_null=True)
    fix = serializers.CharField(allow_null=True)


class RequestLogSerializer(serializers.Serializer[Any]):
    """What is known of one request. Both lists are empty when nothing was found as far back as `searched_to`."""

    request_id = serializers.CharField()
    answers = LogLineSerializer(many=True)
    failures = LogFailureSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)
    searched_to = serializers.DateTimeField(allow_null=True)


class LogsView(ApiView):
    """The lines of all hosts."""

    queryset = Log.objects.none()

    @extend_schema(operation_id="logs_list", parameters=[LogQuerySerializer], responses={200: LogPageSerializer})
    def get(self, request: Request) -> Response:
        """Lines of all hosts, newest first, from the log files of this machine. 409 when there are none to be read."""
        return Response(_page(request, stem=None))


class HostLogsView(ApiView):
    """The lines of one host."""

    queryset = Log.objects.none()

    @extend_schema(operation_id="hosts_logs", parameters=[LogQuerySerializer], responses={200: LogPageSerializer})
    def get(self, request: Request, pk: str) -> Response:
        """Lines of one host, newest first, from the log files of this machine. 409 when there are none to be read."""
        host = get_object_or_404(Host.objects.only("name"), pk=pk)
        return Response(_page(request, stem=stem_of(host.name)))


class RequestLogView(ApiView):
    """One request."""

    queryset = Log.objects.none()

    @extend_schema(
        operation_id="logs_retrieve",
        parameters=[
            OpenApiParameter("request_id", {"type": "string", "pattern": f"^{REQUEST_ID_PATTERN}$"}, "path"),
            CursorQuerySerializer,
        ],
        responses={200: RequestLogSerializer},
    )
    def get(self, request: Request, request_id: str) -> Response:
        """What happened to the request with this id, which error answers and X-Request-ID have.

        404 when nothing is known of it. While `next_cursor` is there, older lines were not looked at yet.
        """
        values = CursorQuerySerializer.values_of(request)
        try:
            trace = trace_of(request_id, before=values.get("cursor", ""))
        except (LogsUnreadable, TooManySearches) as error:
            raise _refused(error) from error
        if not trace.is_known and not trace.cursor:
            raise exceptions.NotFound("Nothing is known of a request with this id.")
        return Response(_trace_document(trace))


def _page(request: Request, *, stem: str | None) -> dict[str, Any]:
    values = LogQuerySerializer.values_of(request)
    limit, before = values.pop("limit"), values.pop("cursor", "")
    wanted = LogFilter(**values)
    try:
        found = search(log_files(_directory(), kinds=wanted.kinds, stem=stem), wanted, before=before, limit=limit)
    except (LogsUnreadable, TooManySearches) as error:
        raise _refused(error) from error
    return {"results": [document(entry) for entry in found.entries], **_position(found)}


def _directory() -> Path:
    directory = log_directory()
    if directory is None:
        text = "The workers write no log files: AEGIS_ACCESS_LOG names no directory."
        raise NoLogs(text, code="no_log_files")
    return directory


def _refused(error: LogsUnreadable | TooManySearches) -> exceptions.APIException:
    if isinstance(error, TooManySearches):
        return exceptions.Throttled(wait=error.wait_s)
    return NoLogs(error.message, code=error.code)


def _position(found: Found | Trace) -> dict[str, Any]:
    return {"next_cursor": found.cursor or None, "searched_to": found.searched_to}


def _trace_document(trace: Trace) -> dict[str, Any]:
    return {
        "request_id": trace.request_id,
        "answers": [document(entry) for entry in trace.answers],
        "failures": _failures(trace),
        **_position(trace),
    }


def _failures(trace: Trace) -> Sequence[dict[str, Any]]:
    return [
        {
            "host": failure.host,
            "upstream": failure.upstream,
            "phase": failure.phase,
            "code": failure.code,
            "reason": failure.reason,
            "at": failure.at,
            "cause": meaning.cause if (meaning := meaning_of(failure.code)) else None,
            "fix": meaning.fix if meaning else None,
        }
        for failure in trace.failures
    ]
