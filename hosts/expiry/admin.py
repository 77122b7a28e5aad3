"""The page "Expiry" of the admin.

Laws of this module: looking is a GET by who may view hosts; of the local CA and of what it issued, who may not view
those sees nothing.
"""

import datetime
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from hosts.expiry.counts import HEIGHT, horizon_counts, months
from hosts.expiry.expiring import ABOUT, Expiring, Horizon, Role, horizon_of
from hosts.expiry.timeline import ExpiryFilter, timeline

ROWS_PER_PAGE = 50

_ANY = ("", "Any")
_BADGES = {Horizon.EXPIRED: "danger", Horizon.WEEK: "danger", Horizon.MONTH: "warning", Horizon.QUARTER: "info"}


class ExpiryFilterForm(forms.Form):
    """What of the timeline the page shows."""

    q = forms.CharField(label="Text", required=False, max_length=300, widget=UnfoldAdminTextInputWidget)
    role = forms.ChoiceField(
        label="Role", required=False, choices=[_ANY, *Role.choices], widget=UnfoldAdminSelectWidget
    )
    within_days = forms.TypedChoiceField(
        label="Ends within",
        required=False,
        choices=[_ANY, ("0", "Expired"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days")],
        coerce=int,
        empty_value=None,
        widget=UnfoldAdminSelectWidget,
    )


class ExpiryAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    def get_urls(self) -> list[URLPattern]:
        return [path("expiry/", self.admin_site.admin_view(self.expiry_view), name="hosts_expiry"), *super().get_urls()]

    def expiry_view(self, request: HttpRequest) -> HttpResponse:
        """The timeline in pages, grouped by how far away the ends are."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        form = ExpiryFilterForm(request.GET)
        values = form.cleaned_data if form.is_valid() else {}
        wanted = ExpiryFilter(
            role=values.get("role") or None, within_days=values.get("within_days"), search=values.get("q", "")
        )
        found = timeline(user=request.user, wanted=wanted, now=now)
        page: Page[Expiring] = Paginator(found, ROWS_PER_PAGE).get_page(request.GET.get("page"))
        query = request.GET.copy()
        query.pop("page", None)
        context = {
            **self.admin_site.each_context(request),
            "title": "Expiry",
            "form": form,
            "page": page,
            "groups": _groups(list(page), horizon_counts(found, now=now), now),
            "months": months(found, now=now),
            "height": HEIGHT,
            "query": query.urlencode(),
        }
        return TemplateResponse(request, "hosts/expiry.html", context)


def _groups(rows: Sequence[Expiring], counts: Mapping[Horizon, int], now: datetime.datetime) -> list[dict[str, Any]]:
    """The rows of a page, which are in order, below the headings that they need; `count` is that of all pages."""
    return [
        {
            "title": horizon.label,
            "kind": _BADGES.get(horizon, "success"),
            "count": counts[horizon],
            "rows": [_row(found, now) for found in group],
        }
        for horizon, group in itertools.groupby(rows, key=lambda found: horizon_of(found.not_after, now))
    ]


def _row(found: Expiring, now: datetime.datetime) -> dict[str, Any]:
    return {
        "not_after": found.not_after,
        "left": left(found.days_left(now)),
        "role": found.role.label,
        "subject": found.subject,
        "fingerprint": found.fingerprint_sha256,
        "owner": found.owner or "Local CA",
        "page": found.page,
        "upstream": found.upstream,
        "seen_at": found.seen_at,
        "fix": ABOUT[found.role].fix,
    }


def left(days: int) -> str:
    """In words; -1 is what ended within the last day."""
    whole = days if days >= 0 else -days - 1
    text = f"{whole} day{'' if whole == 1 else 's'}" if whole else "less than a day"
    return text if days >= 0 else f"{text} ago"
