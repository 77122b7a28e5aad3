"""The pages "Logs" of the admin: of one host, of all hosts, and of one request by its id.

Laws of this module: looking is a GET by who may view logs, and nothing can be changed. What lines hold is escaped by
the templates; a link is made only of what is ours.
"""

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from aegis_site.kernel.admin import action
from aegis_site.kernel.errors import AegisError
from hosts.logs.downloads import MAX_LINES, Form, TooManyDownloads, matching_lines, whole_file
from hosts.logs.entries import LogEntry
from hosts.logs.files import LogFile, log_directory, log_files
from hosts.logs.filters import MAX_TEXT_CHARACTERS, REQUEST_ID_PATTERN, STATUS_PATTERN, LogFilter, View
from hosts.logs.search import DISORDER_MS, Found, is_key, search
from hosts.logs.traces import Trace, trace_of
from hosts.models import Host
from proxyworker.log_files import stem_of
from upstream_tls.tls.meanings import meaning_of

LINES_PER_PAGE = 100
PERMISSION = "logs.view_log"
MAX_FILES_SHOWN = 50

_FORMS: dict[str, Form] = {"jsonl": "jsonl", "text": "text"}
_BUSY_STATUS = 429


class MomentWidget(UnfoldAdminTextInputWidget):
    """A date and time, as browsers ask for it."""

    input_type = "datetime-local"


def _text(label: str, placeholder: str = "", **options: Any) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"placeholder": placeholder})
    options = {"max_length": MAX_TEXT_CHARACTERS, **options}
    return forms.CharField(label=label, required=False, widget=widget, **options)


def _moment(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        widget=MomentWidget(attrs={"step": "1"}),
    )


class LogFilterForm(forms.Form):
    """Which lines the page shows. Its values are those of LogFilter, but for the id: that has a page of its own."""

    view = forms.ChoiceField(label="Show", required=False, choices=View.choices, widget=UnfoldAdminSelectWidget)
    since = _moment("From (UTC)")
    until = _moment("Until (UTC)")
    status = _text(
        "Status",
        "502 or 5xx",
        validators=[RegexValidator(f"^{STATUS_PATTERN}\\Z", "A status such as 502, or a class such as 5xx.")],
    )
    method = _text("Method", "GET")
    path = _text("Path contains", "/orders")
    client = _text("Client begins with", "192.0.2.")
    upstream = _text("Upstream contains", "10.0.0.7:9443")
    code = _text("Failure code", "unknown_authority")

    @property
    def wanted(self) -> LogFilter:
        """Of a valid form."""
        values = {name: value for name, value in self.cleaned_data.items() if value}
        return LogFilter(**{"view": View.REQUESTS, **values})


class RequestForm(forms.Form):
    """The id of a request."""

    request_id = _text(
        "Request ID",
        "0a1b2c3d00000001",
        max_length=128,
        validators=[RegexValidator(f"^{REQUEST_ID_PATTERN}\\Z", "An id as error answers and X-Request-ID have it.")],
    )


class LogsAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("logs/", view(self.all_logs_view), name="hosts_logs"),
            path("logs/request/", view(self.request_log_view), name="hosts_request_log"),
            *super().get_urls(),
        ]

    def has_logs_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return bool(request.user.has_perm(PERMISSION) and self.has_view_permission(request))

    @action(description="Logs", permissions=["logs"], icon="receipt_long", url_path="logs")
    def logs(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The lines of one host."""
        if not self.has_logs_permission(request):
            raise PermissionDenied
        host = self.get_object(request, object_id)
        if host is None:
            raise Http404("no such host")
        return self._logs_page(request, host)

    def all_logs_view(self, request: HttpRequest) -> HttpResponseBase:
        """The lines of all hosts, and of requests that were for none."""
        if not self.has_logs_permission(request):
            raise PermissionDenied
        return self._logs_page(request, None)

    def request_log_view(self, request: HttpRequest) -> HttpResponse:
        """What is known of one request."""
        if not self.has_logs_permission(request):
            raise PermissionDenied
        form = RequestForm(request.GET or None)
        trace, problem = None, ""
        if form.is_valid() and form.cleaned_data["request_id"]:
            try:
                trace = trace_of(form.cleaned_data["request_id"], before=_key(request, "before"))
            except AegisError as error:
                problem = error.message
        context = {
            **self.admin_site.each_context(request),
            "title": "Request",
            "form": form,
            "trace": trace,
            "problem": problem,
            "nowhere": _nowhere(),
            **(_trace_context(trace) if trace else {}),
        }
        return TemplateResponse(request, "hosts/request_log.html", context)

    def _logs_page(self, request: HttpRequest, host: Host | None) -> HttpResponseBase:
        """With `?fragment=1` only the table, with `?download=` and `?file=` a file."""
        form = LogFilterForm(request.GET)
        wanted = form.wanted if form.is_valid() else None
        directory = log_directory()
        found, files, problem = Found([]), list[LogFile](), ""
        try:
            if directory is not None and wanted is not None:
                if (download := _download(request, directory, host, wanted)) is not None:
                    return download
                files = _files_of(directory, host, wanted)
                found = search(
                    files,
                    wanted,
                    before=_key(request, "before"),
                    after=_with_late_lines(_key(request, "after")),
                    limit=LINES_PER_PAGE,
                )
        except AegisError as error:
            problem = error.message
        context: dict[str, Any] = {"rows": _rows(found.entries), "host": host, "found": found, "problem": problem}
        if "fragment" in request.GET:
            status = _BUSY_STATUS if problem else 200
            return TemplateResponse(request, "hosts/logs_table.html", context, status=status)
        whole = _files_of(directory, host, LogFilter(view=View.ERRORS)) if directory and host and not problem else []
        context |= {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": host,
            "title": f"Logs of {host}" if host else "Logs",
            "form": form,
            "nowhere": _nowhere(),
            "query": _without(request, "before", "after", "download", "file"),
            "is_searched": wanted is not None,
            "is_first_page": not _key(request, "before"),
            "files": sorted(whole, key=lambda file: (file.name.kind, file.name.number))[:MAX_FILES_SHOWN],
            "max_lines": MAX_LINES,
        }
        return TemplateResponse(request, "hosts/logs.html", context)


def _files_of(directory: Path, host: Host | None, wanted: LogFilter) -> list[LogFile]:
    return log_files(directory, kinds=wanted.kinds, stem=stem_of(host.name) if host else None)


def _download(request: HttpRequest, directory: Path, host: Host | None, wanted: LogFilter) -> HttpResponseBase | None:
    """The file that is asked for; None: none is. Raises LogsUnreadable and Http404."""
    try:
        if (form := _FORMS.get(request.GET.get("download", ""))) is not None:
            return matching_lines(_files_of(directory, host, wanted), wanted, form)
        if host is not None and "file" in request.GET:
            for file in _files_of(directory, host, LogFilter(view=View.ERRORS)):
                if str(file.name) == request.GET["file"]:
                    return whole_file(file)
            raise Http404("no such file")
    except TooManyDownloads as error:
        headers = {"Retry-After": str(error.wait_s)}
        return HttpResponse(error.message, content_type="text/plain", status=_BUSY_STATUS, headers=headers)
    return None


def _nowhere() -> str:
    """Why there is nothing to show: `stdout` or `off`; empty: there is a directory."""
    return "" if isinstance(settings.AEGIS_ACCESS_LOG, Path) else settings.AEGIS_ACCESS_LOG


def _key(request: HttpRequest, name: str) -> str:
    """A cursor, or nothing when it is none."""
    text = request.GET.get(name, "")
    return text if is_key(text) else ""


def _with_late_lines(key: str) -> str:
    """An earlier place: lines of other processes may come later than newer ones. Who follows knows what it has."""
    return f"{max(0, int(key[:13]) - DISORDER_MS):013d}{key[13:]}" if key else ""


def _without(request: HttpRequest, *names: str) -> str:
    """The query of the page but for these, to be continued."""
    query = request.GET.copy()
    for name in names:
        query.pop(name, None)
    return query.urlencode()


def _host_ids(names: Iterable[str]) -> dict[str, uuid.UUID]:
    return dict(Host.objects.filter(name__in=set(names) - {""}).values_list("name", "pk"))


def _rows(entries: Sequence[LogEntry]) -> list[dict[str, Any]]:
    """What the table says of lines. One query."""
    ids = _host_ids(entry.host for entry in entries)
    return [
        {
            "entry": entry,
            "badge": _badge(entry),
            "host_id": ids.get(entry.host),
            "failures_url": failures_url(ids.get(entry.host), entry.code),
        }
        for entry in entries
    ]


def _badge(entry: LogEntry) -> tuple[str, str]:
    """A badge's kind and text."""
    if entry.kind == "errors":
        return "danger", entry.phase or "failed"
    status = entry.status or 0
    kind = "danger" if status >= 500 else "warning" if status >= 400 else "info" if status >= 300 else "success"
    return kind, str(entry.status or "none")


def failures_url(host_id: uuid.UUID | None, code: str) -> str:
    """The group of the failure inbox; empty: there is none. By name: the inbox belongs to an app above this one."""
    if host_id is None or not code:
        return ""
    query = urlencode({"host__id__exact": str(host_id), "code": code})
    return f"{reverse('admin:healthchecks_failuregroup_changelist')}?{query}"


def _trace_context(trace: Trace) -> dict[str, Any]:
    """Answers, and what each failure means and what to do about it. One query."""
    ids = _host_ids([answer.host for answer in trace.answers] + [failure.host for failure in trace.failures])
    return {
        "rows": [
            {"entry": answer, "badge": _badge(answer), "host_id": ids.get(answer.host)} for answer in trace.answers
        ],
        "failures": [
            {
                "failure": failure,
                "host_id": ids.get(failure.host),
                "meaning": meaning_of(failure.code),
                "inbox_url": failures_url(ids.get(failure.host), failure.code),
            }
            for failure in trace.failures
        ],
    }
