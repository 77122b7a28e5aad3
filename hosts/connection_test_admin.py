"""Test Connection in the admin: the section of the host editor, its two endpoints, and the column of the list.

Laws of this module:
- What is tested are the values of the form, checked by the same forms that save them; nothing is saved.
- A test is a POST with a CSRF token by who may change the host; looking at its progress is a GET by who asked for it.
- No answer holds a private key: the form is never rendered from here.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db import transaction
from django.forms import BaseInlineFormSet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action, display, shown_once
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.throttling import TooManyTests, count_test
from hosts.connection_test_panel import (
    FieldProblem,
    field_link,
    last_test_cell,
    problems_panel,
    results_panel,
    summary,
)
from hosts.connection_test_run import PROBE_TIMEOUT_S
from hosts.connection_tests import (
    all_upstreams,
    current_tests,
    first_upstream,
    latest_tests,
    request_tests,
    request_tests_as_stored,
    wait_for,
)
from hosts.downstream_forms import DownstreamTLSFields
from hosts.forms import HostForm
from hosts.models import ConnectionTest, Host, Upstream
from hosts.traffic_forms import TrafficFields
from upstream_tls.forms import UpstreamTLSFields

SAVE_AND_TEST = "hosts_host_save_and_test"

# Of the form's fields those that a test does not depend on.
_IRRELEVANT_FIELDS = frozenset(
    ("name", "domains", "tags", "load_balancing", *DownstreamTLSFields.declared_fields, *TrafficFields.declared_fields)
) - frozenset(UpstreamTLSFields.declared_fields)


class ConnectionTestAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    class Media:
        css = {"all": ["hosts/connection_test.css"]}
        js = ["hosts/connection_test.js"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("test-connection/", view(self.test_connection_view), name="hosts_host_test_new"),
            path("<uuid:host_id>/test-connection/", view(self.test_connection_view), name="hosts_host_test"),
            path("connection-tests/<uuid:batch>/", view(self.connection_tests_view), name="hosts_connection_tests"),
            *super().get_urls(),
        ]

    # What the pages show

    @display(description="Last test", ordering="last_tested_at")
    def last_test(self, host: Host) -> SafeString:
        return last_test_cell(getattr(host, "last_test_of_saved", None))

    @display(description="Test Connection")
    @shown_once
    def connection_test(self, host: Host) -> SafeString:
        tests = [] if host._state.adding else latest_tests(host)
        context = {
            "test_url": _test_url(host),
            "poll_url": _poll_url(tests),
            "save_button": SAVE_AND_TEST,
            "timeout_s": PROBE_TIMEOUT_S,
            "results": _results(host, tests),
        }
        return render_to_string("hosts/connection_test_section.html", context)

    @display(description="Last connection test")
    @shown_once
    def connection_test_result(self, host: Host) -> SafeString:
        return _results(host, latest_tests(host)) or SafeString("Never tested.")

    # What the pages do

    @method_decorator(sensitive_post_parameters())
    @method_decorator(require_POST)
    def test_connection_view(self, request: HttpRequest, host_id: uuid.UUID | None = None) -> HttpResponse:
        """Test the values of the submitted form. Answers at once; `poll_url` says where the result will be."""
        host = self._host_to_test(request, host_id)
        form, formset = self._submitted(request, host)
        if problems := [*_form_problems(form), *_row_problems(formset)]:
            return _answer(html=problems_panel(problems), status=400)
        try:
            count_test(request.user.pk)
            batch = request_tests(
                host=form.instance,
                domains=form.cleaned_data.get("domains", ()),
                upstreams=_chosen(request, _upstreams_in(formset)),
                configuration=form.configuration,
                user=request.user,
            )
        except TooManyTests as error:
            response = _not_tested(error, status=429)
            response["Retry-After"] = str(error.wait_s)
            return response
        except AegisError as error:
            return _not_tested(error, status=409)
        return _progress(current_tests(batch))

    @method_decorator(require_GET)
    def connection_tests_view(self, request: HttpRequest, batch: uuid.UUID) -> HttpResponse:
        """How the tests of a batch stand."""
        tests = [test for test in current_tests(batch) if test.requested_by_id == request.user.pk]
        if not tests or not self.has_view_or_change_permission(request):
            raise Http404
        return _progress(tests)

    def has_test_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """A test acts on the world in the host's name, as a change of it would."""
        return bool(self.has_change_permission(request))

    @action(description="Save & test", permissions=["test"], icon="network_check")
    def save_and_test(self, request: HttpRequest, obj: Host) -> None:
        """Runs inside the POST of the form; the inlines are saved after it, so the test begins with the commit."""
        transaction.on_commit(partial(self._test_as_saved, request, obj.pk))

    def _test_as_saved(self, request: HttpRequest, host_id: uuid.UUID) -> None:
        host = Host.objects.with_configuration().get(pk=host_id)
        try:
            upstreams = _chosen(request, list(host.upstreams.all()))
            count_test(request.user.pk)
            batch = request_tests_as_stored(host=host, upstreams=upstreams, user=request.user)
        except AegisError as error:
            self.message_user(request, error.message, messages.WARNING)
            return
        if "shows_progress" not in request.POST:  # the editor's script is not there to do the waiting
            wait_for(batch)

    def _host_to_test(self, request: HttpRequest, host_id: uuid.UUID | None) -> Host:
        host = Host() if host_id is None else self.get_object(request, str(host_id))
        if host is None:
            raise Http404
        may_edit = self.has_change_permission(request) if host_id else self.has_add_permission(request)
        if not may_edit or not self.has_test_permission(request):
            raise PermissionDenied
        return host

    def _submitted(self, request: HttpRequest, host: Host) -> tuple[HostForm, "BaseInlineFormSet[Any, Any, Any]"]:
        """The submitted form and its rows of upstreams, checked."""
        obj = None if host._state.adding else host
        form = self.get_form(request, obj, change=obj is not None)(request.POST, request.FILES, instance=host)
        form.is_valid()
        formset_class, inline = next(iter(self.get_formsets_with_inlines(request, obj)))
        prefix = formset_class.get_default_prefix()
        formset = formset_class(**self.get_formset_kwargs(request, form.instance, inline, prefix))
        formset.is_valid()
        return form, formset


def _form_problems(form: HostForm) -> Iterator[FieldProblem]:
    for name, texts in form.errors.items():
        if name not in _IRRELEVANT_FIELDS:
            link = None if name == NON_FIELD_ERRORS else field_link(name)
            yield from (FieldProblem(message=str(text), field=link) for text in texts)


def _row_problems(formset: "BaseInlineFormSet[Any, Any, Any]") -> Iterator[FieldProblem]:
    for number, row in enumerate(formset.forms, start=1):
        for name, texts in row.errors.items():
            yield from (FieldProblem(message=f"Upstream {number}, {name}: {text}", field=None) for text in texts)
    yield from (FieldProblem(message=str(text), field=None) for text in formset.non_form_errors())


def _upstreams_in(formset: "BaseInlineFormSet[Any, Any, Any]") -> list[Upstream]:
    """The rows as they would be saved, in their order."""
    deleted = formset.deleted_forms
    rows = [form for form in formset.forms if form not in deleted]
    upstreams = [form.instance for form in rows if form.has_changed() or not form.instance._state.adding]
    return sorted(upstreams, key=lambda upstream: upstream.position)


def _chosen(request: HttpRequest, upstreams: Sequence[Upstream]) -> list[Upstream]:
    """Raises NothingToTest."""
    return all_upstreams(upstreams) if request.POST.get("tested_upstreams") == "all" else first_upstream(upstreams)


def _results(host: Host, tests: Sequence[ConnectionTest]) -> SafeString:
    is_outdated = bool(tests) and tests[0].is_of_saved_host and tests[0].created_at < host.updated_at
    return results_panel(tests, is_outdated=is_outdated) if tests else SafeString("")


def _test_url(host: Host) -> str:
    return (
        reverse("admin:hosts_host_test_new") if host._state.adding else reverse("admin:hosts_host_test", args=[host.pk])
    )


def _poll_url(tests: Sequence[ConnectionTest]) -> str | None:
    """Where to look again; None when all tests are over."""
    if all(test.is_over for test in tests):
        return None
    return reverse("admin:hosts_connection_tests", args=[tests[0].batch])


def _progress(tests: Sequence[ConnectionTest]) -> HttpResponse:
    return _answer(html=results_panel(tests), poll_url=_poll_url(tests), summary=summary(tests))


def _not_tested(error: AegisError, *, status: int) -> HttpResponse:
    return _answer(html=problems_panel([FieldProblem(message=error.message, field=None)]), status=status)


def _answer(*, html: str, status: int = 200, **values: Mapping[str, Any] | str | None) -> HttpResponse:
    return JsonResponse({"html": html, "poll_url": None, "summary": "", **values}, status=status)
