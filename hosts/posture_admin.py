"""The pages "Posture" and "What if" of the admin.

Laws of this module: looking is a GET by who may view hosts; trying is a POST with a CSRF token by who may change them,
and saves nothing. A pasted key is tried and forgotten.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from aegis_site.kernel.throttling import count_report
from hosts.connection_tests import NotRun
from hosts.models import Host
from hosts.posture import Document, postures
from hosts.posture_csv import TooManyReports, csv_response
from hosts.posture_filters import PostureFilter, filtered
from hosts.posture_findings import Severity
from hosts.validators import MAX_TAG_CHARACTERS
from hosts.what_if import Verdict, WhatIf, what_if
from hosts.what_if_forms import WhatIfForm

HOSTS_PER_PAGE = 50

_BADGES = {
    Verdict.BREAKS: ("danger", "Breaks"),
    Verdict.NOT_TESTED: ("warning", "Not tested"),
    Verdict.ALREADY_FAILING: ("info", "Already failing"),
    Verdict.WORKS: ("success", "Works"),
}
_SEVERITY_BADGES = {Severity.CRITICAL: "danger", Severity.WARNING: "warning", Severity.INFO: "info"}
_ANY = ("", "Any")


class PostureFilterForm(forms.Form):
    """Which hosts the page shows."""

    q = forms.CharField(label="Name", required=False, max_length=100, widget=UnfoldAdminTextInputWidget)
    tag = forms.CharField(
        required=False, max_length=MAX_TAG_CHARACTERS, empty_value=None, widget=UnfoldAdminTextInputWidget
    )
    exceptions = forms.TypedChoiceField(
        label="Exceptions",
        required=False,
        choices=[_ANY, ("yes", "With"), ("no", "Without")],
        coerce=lambda text: text == "yes",
        empty_value=None,
        widget=UnfoldAdminSelectWidget,
    )
    mtls = forms.TypedChoiceField(
        label="mTLS",
        required=False,
        choices=[_ANY, ("yes", "On"), ("no", "Off")],
        coerce=lambda text: text == "yes",
        empty_value=None,
        widget=UnfoldAdminSelectWidget,
    )
    expiring_within_days = forms.TypedChoiceField(
        label="Expires within",
        required=False,
        choices=[_ANY, ("0", "Expired"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days")],
        coerce=int,
        empty_value=None,
        widget=UnfoldAdminSelectWidget,
    )


class PostureAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("posture/", view(self.posture_view), name="hosts_posture"),
            path("what-if/", view(self.what_if_view), name="hosts_what_if"),
            *super().get_urls(),
        ]

    def posture_view(self, request: HttpRequest) -> HttpResponseBase:
        """The fleet in a table; with `?format=csv` the same hosts, all of them, as a download."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        form = PostureFilterForm(request.GET)
        values = dict(form.cleaned_data) if form.is_valid() else {}
        named = Host.objects.filter(name__icontains=values.pop("q", ""))
        hosts = filtered(named, PostureFilter(**values), now=now)
        if request.GET.get("format") == "csv":
            if (wait_s := count_report(request.user.pk)) is None:
                try:
                    return csv_response(hosts, now=now)
                except TooManyReports as error:
                    messages.error(request, error.message)
            else:
                messages.error(request, f"You have asked for many reports. Try again in {wait_s} seconds.")
            return HttpResponseRedirect(f"{request.path}?{_without(request, 'page', 'format')}")
        page: Page[Host] = Paginator(hosts.order_by("name"), HOSTS_PER_PAGE).get_page(request.GET.get("page"))
        identifiers = [host.pk for host in page]
        shown = Host.objects.with_configuration().filter(pk__in=identifiers).order_by("name")
        context = {
            **self._context(request, "Posture"),
            "form": form,
            "page": page,
            "rows": [_posture_row(document) for document in postures(list(shown), now=now)],
            "query": _without(request, "page", "format"),
        }
        return TemplateResponse(request, "hosts/posture.html", context)

    @method_decorator(sensitive_post_parameters())
    def what_if_view(self, request: HttpRequest) -> HttpResponse:
        """The changes to choose from; a POST tries one and shows what came of it."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        form = WhatIfForm(request.POST or None)
        answer, problem = self._ask(request, form) if form.is_bound and form.is_valid() else (None, "")
        context = {
            **self._context(request, "What if"),
            "form": form,
            "chosen": request.POST.get("kind", ""),
            "problem": problem,
            "answer": answer,
            "counts": [(*badge, answer.count(verdict)) for verdict, badge in _BADGES.items()] if answer else [],
            "rows": [(outcome, _BADGES[outcome.verdict], _outcome_rows(outcome.upstreams)) for outcome in answer.hosts]
            if answer
            else [],
        }
        return TemplateResponse(request, "hosts/what_if.html", context)

    def _ask(self, request: HttpRequest, form: WhatIfForm) -> tuple[WhatIf | None, str]:
        """The answer, or why there is none."""
        change = form.change
        assert change is not None  # noqa: S101 (a valid form has one)
        try:
            return what_if(change=change, user=request.user), ""
        except ValidationError as error:
            form.refuse(change.kind, error)
            return None, ""
        except NotRun as error:
            return None, error.message

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title}


def _outcome_rows(upstreams: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "outcome": outcome,
            "badge": _BADGES[outcome.verdict],
            "now": _spoken(outcome.now),
            "then": _spoken(outcome.then),
        }
        for outcome in upstreams
    ]


def _spoken(test: Mapping[str, Any] | None) -> dict[str, str]:
    """A test in a few words, with what to do about a failure."""
    if test is None:
        return {"text": "", "fix": ""}
    if test["error"]:
        return {"text": test["error"]["message"], "fix": test["error"]["fix"]}
    version = test["tls"]["version"] if test["tls"] else ""
    status = f", HTTP {test['http']['status']}" if test["http"] else ""
    return {"text": f"{version}{status}", "fix": ""}


def _posture_row(document: Document) -> dict[str, Any]:
    """What the table says of one host."""
    tests = [upstream["last_test"] for upstream in document["upstreams"] if upstream["last_test"]]
    certificates = [
        ("client", document["mtls"]["identity"]),
        ("to clients", document["downstream"]["certificate"]),
        *(("CA", found) for found in document["verification"]["ca_certificates"]),
        *(("upstream", test["leaf"]) for test in tests),
    ]
    ends = [
        (found["days_left"], what, found["not_after"][:10])
        for what, found in certificates
        if found and found["not_after"]
    ]
    return {
        **document,
        "first_end": min(ends, default=None),
        "negotiated": ", ".join(sorted({test["tls_version"] for test in tests if test["tls_version"]})),
        "badges": [
            (_SEVERITY_BADGES[Severity(finding["severity"])], finding["code"].replace("_", " "), finding["message"])
            for finding in document["findings"]
        ],
    }


def _without(request: HttpRequest, *names: str) -> str:
    """The query of the page but for these, to be continued."""
    query = request.GET.copy()
    for name in names:
        query.pop(name, None)
    return query.urlencode()
