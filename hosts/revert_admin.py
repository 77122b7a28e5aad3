"""The pages that revert an entry of the audit log, or all since a time: what would come back, and the button.

Laws of this module: looking is a GET and changes nothing; reverting is a POST with a CSRF token, by who may change the
host, and only of what the page showed.
"""

import datetime
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.dateparse import parse_datetime
from rest_framework import exceptions

from aegis_site.kernel.audit.audited_admin import AuditedAdmin
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.panels import changes_panel, entry_views
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.problems import field_errors
from hosts.models import Host
from hosts.revert import Reversal, is_revertible, planned_return, planned_revert, return_to, revert


def may_revert(request: HttpRequest) -> bool:
    """Whether somebody may undo changes of hosts."""
    return bool(request.user.has_perms(["hosts.view_host", "hosts.change_host", "audit.view_auditentry"]))


def revert_url(entry: AuditEntry, request: HttpRequest) -> str:
    """The page that undoes this entry; empty when there is none, or not for this user."""
    return reverse("admin:hosts_revert", args=[entry.pk]) if may_revert(request) and is_revertible(entry) else ""


class RevertAdmin(AuditedAdmin):
    """To be mixed into the admin of hosts, first, as AuditedAdmin is."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("revert/<int:entry_id>/", view(self.revert_view), name="hosts_revert"),
            path("<uuid:host_id>/put-back/", view(self.return_view), name="hosts_return"),
            *super().get_urls(),
        ]

    def revert_url(self, request: HttpRequest, entry: AuditEntry) -> str:
        """For the history of a host."""
        return revert_url(entry, request)

    def extra_history(self, request: HttpRequest, target: Any) -> dict[str, Any]:
        return {"return_url": reverse("admin:hosts_return", args=[target.pk])} if may_revert(request) else {}

    def revert_view(self, request: HttpRequest, entry_id: int) -> HttpResponse:
        """What undoing one entry would do; a POST does it."""
        if not may_revert(request):
            raise PermissionDenied
        # More than the database can hold as an id is that of no entry.
        entry = AuditEntry.objects.filter(pk=entry_id).first() if entry_id < 2**63 else None
        if entry is None:
            raise Http404("no such entry")
        context = {"title": f"Revert a change of {entry.target_name}", "view": entry_views([entry])[0]}
        return self._undo_view(
            request, context, partial(planned_revert, entry), partial(revert, entry=entry, user=request.user)
        )

    def return_view(self, request: HttpRequest, host_id: uuid.UUID) -> HttpResponse:
        """What putting a host back as of a time would do; a POST does it."""
        if not may_revert(request):
            raise PermissionDenied
        host = get_object_or_404(Host.objects.only("name"), pk=host_id)
        to = _moment(request.GET.get("to", ""))
        context = {"title": f"Put {host} back", "to": to, "original": host}
        if to is None:
            problem = "This is no time: write it as 2026-11-24T10:30:00, in UTC."
            context = {**self.admin_site.each_context(request), **context, "opts": self.opts, "problem": problem}
            return TemplateResponse(request, "hosts/revert.html", context)
        return self._undo_view(
            request,
            context,
            partial(planned_return, host_id, to=to),
            partial(return_to, host_id=host_id, to=to, user=request.user),
        )

    def _undo_view(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        planned: Callable[[], Reversal],
        undo: Callable[..., Reversal],
    ) -> HttpResponse:
        if request.method == "POST" and (done := self._undone(request, undo)) is not None:
            self.message_user(request, f"Reverted: {done.host}.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:hosts_host_change", args=[done.host.pk]))
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context, **_plan_context(planned)}
        return TemplateResponse(request, "hosts/revert.html", context)

    def _undone(self, request: HttpRequest, undo: Callable[..., Reversal]) -> Reversal | None:
        version = _moment(request.POST.get("version", ""))
        if version is None:
            self.message_user(request, "Look at the differences first.", messages.ERROR)
            return None
        try:
            return undo(version=version)
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
        except (ValidationError, exceptions.ValidationError) as error:
            for problem in field_errors(error):
                text = f"{problem['field']}: {problem['message']}".removeprefix(": ")
                self.message_user(request, text, messages.ERROR)
        return None


def _plan_context(planned: Callable[[], Reversal]) -> dict[str, Any]:
    try:
        reversal = planned()
    except AegisError as error:
        return {"problem": error.message}
    plan = reversal.plan
    return {
        "original": reversal.host,
        "plan": plan,
        "changes": changes_panel(plan.changes),
        "version": reversal.version.isoformat(),
        "may_revert": bool(plan.changes and not plan.conflicts),
    }


def _moment(text: str) -> datetime.datetime | None:
    """A time, without an offset in UTC; None: it is none."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or datetime.UTC) if found else None
