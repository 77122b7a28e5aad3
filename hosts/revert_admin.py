"""The page that reverts an entry of the audit log: what would come back, and the button.

Laws of this module: looking is a GET and changes nothing; reverting is a POST with a CSRF token, by who may change the
host, and only of what the page showed.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.dateparse import parse_datetime
from rest_framework import exceptions

from aegis_site.kernel.audit.audited_admin import AuditedAdmin
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.panels import changes_panel, entry_views
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.problems import field_errors
from hosts.revert import Reversal, is_revertible, planned_revert, revert


def may_revert(request: HttpRequest) -> bool:
    """Whether somebody may undo changes of hosts."""
    return bool(request.user.has_perms(["hosts.view_host", "hosts.change_host", "audit.view_auditentry"]))


def revert_url(entry: AuditEntry, request: HttpRequest) -> str:
    """The page that undoes this entry; empty when there is none, or not for this user."""
    return reverse("admin:hosts_revert", args=[entry.pk]) if may_revert(request) and is_revertible(entry) else ""


class RevertAdmin(AuditedAdmin):
    """To be mixed into the admin of hosts, first, as AuditedAdmin is."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revert_view)
        return [path("revert/<int:entry_id>/", view, name="hosts_revert"), *super().get_urls()]

    def revert_url(self, request: HttpRequest, entry: AuditEntry) -> str:
        """For the history of a host."""
        return revert_url(entry, request)

    def revert_view(self, request: HttpRequest, entry_id: int) -> HttpResponse:
        """What it would do; a POST does it."""
        if not may_revert(request):
            raise PermissionDenied
        # More than the database can hold as an id is that of no entry.
        entry = AuditEntry.objects.filter(pk=entry_id).first() if entry_id < 2**63 else None
        if entry is None:
            raise Http404("no such entry")
        if request.method == "POST" and (done := self._revert(request, entry)) is not None:
            self.message_user(request, f"Reverted: {done.host}.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:hosts_host_change", args=[done.host.pk]))
        return TemplateResponse(request, "hosts/revert.html", self._revert_context(request, entry))

    def _revert(self, request: HttpRequest, entry: AuditEntry) -> Reversal | None:
        try:
            version = parse_datetime(request.POST.get("version", ""))
        except ValueError:
            version = None
        if version is None:
            self.message_user(request, "Look at the differences first.", messages.ERROR)
            return None
        try:
            return revert(entry=entry, user=request.user, version=version)
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
        except (ValidationError, exceptions.ValidationError) as error:
            for problem in field_errors(error):
                text = f"{problem['field']}: {problem['message']}".removeprefix(": ")
                self.message_user(request, text, messages.ERROR)
        return None

    def _revert_context(self, request: HttpRequest, entry: AuditEntry) -> dict[str, Any]:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Revert a change of {entry.target_name}",
            "view": entry_views([entry])[0],
        }
        try:
            reversal = planned_revert(entry)
        except AegisError as error:
            return {**context, "problem": error.message}
        plan = reversal.plan
        return {
            **context,
            "original": reversal.host,
            "plan": plan,
            "changes": changes_panel(plan.changes),
            "version": reversal.version.isoformat(),
            "may_revert": bool(plan.changes and not plan.conflicts),
        }
