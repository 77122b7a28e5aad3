"""What the admin pages of recorded things have in common.

Laws of this module: there is one history, the audit log; Django's own is not written. A form makes one entry, in the
transaction that saves it.
"""

from functools import partial
from typing import Any

from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.panels import entry_views
from aegis_site.kernel.audit.recording import one_entry_each

ENTRIES_PER_PAGE = 50


class AuditedAdmin(ModelAdmin):
    """To be mixed in first. `audit_type` is what the log calls these things."""

    audit_type: str

    def revert_url(self, request: HttpRequest, entry: AuditEntry) -> str:
        """The page that undoes an entry; empty: there is none, or not for this user."""
        return ""

    def extra_history(self, request: HttpRequest, target: Any) -> dict[str, Any]:
        """More for the page of a thing's history; `return_url`: the page that puts it back as of a time, `?to=`."""
        return {}

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        with transaction.atomic(), one_entry_each(user=request.user):
            return super().changeform_view(request, *args, **kwargs)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Recorded already."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Recorded already."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Recorded when it is done."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What was done to one thing, newest first, with before and after."""
        target = self.get_object(request, unquote(object_id))
        if target is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return missing
        if not self.has_view_or_change_permission(request, target):
            raise PermissionDenied
        entries = AuditEntry.objects.filter(target_type=self.audit_type, target_id=str(target.pk))
        paginator = self.get_paginator(request, entries, ENTRIES_PER_PAGE)
        page = paginator.get_page(request.GET.get(PAGE_VAR, 1))
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {target}",
            "subtitle": None,
            "entries": entry_views(page.object_list, revert_url=partial(self.revert_url, request)),
            "page": page,
            "page_range": paginator.get_elided_page_range(page.number),
            "page_var": PAGE_VAR,
            "original": target,
            "object": target,
            "opts": self.opts,
            **self.extra_history(request, target),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "audit/history.html", context)
