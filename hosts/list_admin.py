"""The list of hosts: its columns, filters, and what is done to several hosts at once.

Laws of this module:
- A column costs no query for each host; what rows cannot say is asked once for the page that is shown.
- What is done to many hosts is a POST with a CSRF token by who may change hosts. What stops traffic is confirmed on a
  page that says whose, and done to exactly the hosts of that page.
"""

import functools
import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextInputWidget

from aegis_site.kernel.admin import action, display
from hosts.badges import status_badge
from hosts.bulk_changes import change_tags, set_enabled
from hosts.connection_tests import last_outcomes, last_tested_at
from hosts.list_filters import HOST_FILTERS
from hosts.models import CompiledHost, Host
from hosts.querysets import HostQuerySet
from hosts.selectors import refusals, tags_in_use
from hosts.status import HostStatus, with_status
from hosts.traffic_statistics.plots import sparkline_svg
from hosts.traffic_statistics.selectors import sparklines
from hosts.upstream_failures import recently_failing
from upstream_tls.form_fields import ListField

_CLONE = (
    '<a href="{}" class="hl-clone" title="Clone" aria-label="Clone {}">'
    '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span></a>'
)

# How many domains the list names before it counts the rest.
LISTED_DOMAINS = 2

# A page that names more is read by nobody.
SHOWN_HOSTS = 50


class TagsForm(forms.Form):
    """Which tags."""

    tags = ListField(
        label="Tags",
        widget=UnfoldAdminTextInputWidget({"list": "tags-in-use", "autofocus": True}),
        help_text="Separated by commas, such as prod, team:payments.",
    )


class HostChangeList(ChangeList):
    """What the list filters and sorts by, which the pages of one host need not ask for."""

    root_queryset: Any

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Host]:
        tested = self.root_queryset.annotate(last_tested_at=last_tested_at())
        self.root_queryset = with_status(tested, now=timezone.now())
        hosts: QuerySet[Host] = super().get_queryset(request, exclude_parameters)
        return hosts


class HostListAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    class Media:
        css: ClassVar[Any] = {"all": ["hosts/list.css"]}

    list_display: ClassVar[Sequence[str]] = [
        *("name", "status", "domains_and_tags", "upstream_summary", "protection", "last_test", "traffic_sparkline"),
    ]
    list_filter = HOST_FILTERS
    search_fields: ClassVar[Sequence[str]] = ["name", "domains__name", "upstreams__address", "tags"]
    list_per_page = 50
    # Each count would be another query, and some of them read all certificates.
    show_facets = ShowFacets.NEVER
    actions: ClassVar[Sequence[str]] = ["enable_selected", "disable_selected", "tag_selected", "untag_selected"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        problem = CompiledHost.objects.filter(pk=OuterRef("pk")).values("problem")
        hosts: HostQuerySet = super().get_queryset(request)
        return hosts.with_configuration().annotate(problem=Subquery(problem))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return HostChangeList

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        shown = super().get_list_display(request)
        return [*shown, "clone_link"] if self.has_clone_permission(request) else shown

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist: ChangeList = super().get_changelist_instance(request)
        refused = refusals(now=timezone.now())
        shown = [host.pk for host in changelist.result_list]
        tested = last_outcomes(shown)
        traffic = sparklines(shown, now_s=timezone.now().timestamp())
        failing = recently_failing(shown, now=timezone.now())
        for host in changelist.result_list:
            host.has_failed_lately = host.pk in failing
            host.refused_because = refused.get(str(host.pk)) or host.problem
            host.last_test_of_saved = tested.get(host.pk)
            host.sparkline = traffic.get(host.pk)
        return changelist

    # The columns

    @display(description="Status", ordering="status")
    def status(self, host: Host) -> SafeString:
        return status_badge(HostStatus(getattr(host, "status", HostStatus.UNCHECKED)))

    @display(description="Domains")
    def domain_names(self, host: Host) -> str:
        return ", ".join(domain.name for domain in host.domains.all())

    @display(description="Domains")
    def domains_and_tags(self, host: Host) -> SafeString:
        """Of many domains the first, and how many more there are."""
        names = [domain.name for domain in host.domains.all()]
        lines = [(name, name) for name in names[:LISTED_DOMAINS]]
        if hidden_count := len(names) - len(lines):
            lines.append(("", f"and {hidden_count} more"))
        listed = format_html_join("", '<span class="hl-line" title="{}">{}</span>', lines)
        tags = format_html('<span class="hl-tags">{}</span>', self.tag_list(host)) if host.tags else ""
        return format_html('<span class="hl-domains">{}{}</span>', listed, tags)

    @display(description="Tags")
    def tag_list(self, host: Host) -> SafeString:
        return format_html_join(" ", "{}", ((_tag_link(tag),) for tag in host.tags))

    @display(description="Traffic")
    def traffic_sparkline(self, host: Host) -> SafeString:
        traffic = getattr(host, "sparkline", None)
        return sparkline_svg(traffic) if traffic else SafeString()

    @display(description="")
    def clone_link(self, host: Host) -> SafeString:
        url = reverse("admin:hosts_host_clone", args=[host.pk])
        return format_html(_CLONE, url, host.name)

    # What is done to several

    @action(description="Enable", permissions=["change"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Host]) -> None:
        """They are served as soon as the workers have them."""
        count = set_enabled(host_ids=_identifiers(request, queryset), enabled=True, user=request.user)
        self.message_user(request, f"Enabled {_counted(count)}.", messages.SUCCESS)

    @action(description="Disable…", permissions=["change"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Host]) -> HttpResponse | None:
        """First the page that says which domains stop."""
        identifiers = _identifiers(request, queryset)
        if "confirmed" in request.POST:
            count = set_enabled(host_ids=identifiers, enabled=False, user=request.user)
            self.message_user(request, f"Disabled {_counted(count)}.", messages.SUCCESS)
            return None
        served = Host.objects.filter(pk__in=identifiers, enabled=True).prefetch_related("domains")
        return self._bulk_page(request, "disable_selected", f"Disable {_counted(served.count())}?", served)

    @action(description="Add tags…", permissions=["change"])
    def tag_selected(self, request: HttpRequest, queryset: QuerySet[Host]) -> HttpResponse | None:
        """Asks which."""
        return self._retag(request, queryset, "tag_selected", "Add tags to")

    @action(description="Remove tags…", permissions=["change"])
    def untag_selected(self, request: HttpRequest, queryset: QuerySet[Host]) -> HttpResponse | None:
        """Asks which."""
        return self._retag(request, queryset, "untag_selected", "Remove tags from")

    def _retag(self, request: HttpRequest, queryset: QuerySet[Host], name: str, what: str) -> HttpResponse | None:
        identifiers = _identifiers(request, queryset)
        form = TagsForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            tags = {"add" if name == "tag_selected" else "remove": form.cleaned_data["tags"]}
            try:
                count = change_tags(host_ids=identifiers, **tags, user=request.user)
            except ValidationError as error:
                form.add_error("tags", error)
            else:
                self.message_user(request, f"Changed the tags of {_counted(count)}.", messages.SUCCESS)
                return None
        chosen = Host.objects.filter(pk__in=identifiers).prefetch_related("domains")
        return self._bulk_page(request, name, f"{what} {_counted(len(identifiers))}", chosen, form)

    def _bulk_page(
        self, request: HttpRequest, name: str, title: str, hosts: QuerySet[Host], form: TagsForm | None = None
    ) -> HttpResponse:
        identifiers = list(hosts.values_list("pk", flat=True))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "action": name,
            "is_stopping": name == "disable_selected",
            "hosts": hosts[:SHOWN_HOSTS],
            "hidden_count": max(0, len(identifiers) - SHOWN_HOSTS),
            "selected": " ".join(map(str, identifiers)),
            # Django asks for one that is chosen before it calls an action.
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "first": identifiers[0] if identifiers else None,
            "form": form,
            "tags_in_use": tags_in_use() if form else [],
            "list_url": request.get_full_path(),
        }
        return TemplateResponse(request, "hosts/bulk.html", context)


@functools.lru_cache(maxsize=1024)
def _tag_link(tag: str) -> SafeString:
    url = f"{reverse('admin:hosts_host_changelist')}?{urlencode({'tag': tag})}"
    return format_html('<a href="{}" class="hl-tag">{}</a>', url, tag)


def _identifiers(request: HttpRequest, queryset: QuerySet[Host]) -> list[uuid.UUID]:
    """Those of the page that was confirmed; else those that are chosen in the list."""
    if "confirmed" not in request.POST:
        return list(queryset.values_list("pk", flat=True))
    identifiers = []
    for text in request.POST.get("selected", "").split():
        try:
            identifiers.append(uuid.UUID(text))
        except ValueError:
            continue  # of no host
    return identifiers


def _counted(count: int) -> str:
    return f"{count} host{'' if count == 1 else 's'}"
