"""The failure inbox of the admin: the list, and the page of one group.

Laws of this module: nobody adds, edits or deletes a group here; saying that it is known, over or not to be heard of is
a POST with a CSRF token by who may change it. What is shown of strangers' texts is escaped by the templates.
"""

from collections.abc import Callable, Collection
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from aegis_site.kernel.admin import ReadOnlyAdmin, action, display
from aegis_site.kernel.audit.audited_admin import AuditedAdmin
from aegis_site.kernel.audit.panels import entry_views
from healthchecks.failures.models import FailureGroup, FailureState, Source
from healthchecks.failures.selectors import BEFORE, changes_before, failure_groups, met_by
from healthchecks.failures.standing import FAILURES, MUTED_FOR, acknowledge, mute, resolve
from hosts.badges import badge, badges
from hosts.connection_test_panel import ago
from hosts.revert_admin import revert_url
from upstream_tls.tls.meanings import meaning_of

_STATE_BADGES = {
    FailureState.OPEN: "danger",
    FailureState.ACKNOWLEDGED: "warning",
    FailureState.RESOLVED: "success",
}


class SourceFilter(admin.SimpleListFilter):
    """Groups that were met there at least once."""

    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(source.value, str(source.label)) for source in Source]

    def queryset(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> QuerySet[FailureGroup]:
        value = self.value()
        return queryset.filter(met_by(Source(value))) if value in Source.values else queryset


@admin.register(FailureGroup)
class FailureGroupAdmin(AuditedAdmin, ReadOnlyAdmin):
    """What fails at upstreams, by host, upstream and cause."""

    audit_type = FAILURES.target_type
    list_display = ["code", "host", "upstream", "standing", "total", "traffic_count", "check_count", "test_count"]
    list_display += ["first_seen", "last_seen"]
    list_filter = ["state", SourceFilter, ("code", admin.AllValuesFieldListFilter), "host"]
    search_fields = ["host__name", "upstream__address", "code", "message"]
    search_help_text = "Name of the host, address of the upstream, code or message."
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    actions = ["acknowledge_selected", "resolve_selected", "mute_selected"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[FailureGroup]:
        return failure_groups()

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may say how a group stands."""
        return bool(request.user.has_perm("healthchecks.change_failuregroup"))

    @display(description="State")
    def standing(self, group: FailureGroup) -> SafeString:
        return badges(_badges(group))

    @display(description="Count", ordering="total")
    def total(self, group: FailureGroup) -> int:
        return group.count

    @action(description="Acknowledge", permissions=["operate"])
    def acknowledge_selected(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._do(request, "acknowledge", list(queryset))

    @action(description="Resolve", permissions=["operate"])
    def resolve_selected(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._do(request, "resolve", list(queryset))

    @action(description="Mute for a day", permissions=["operate"])
    def mute_selected(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._do(request, "mute", list(queryset))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One group; a POST says how it stands."""
        group: FailureGroup | None = self.get_object(request, unquote(object_id))
        if group is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return missing
        if not self.has_view_permission(request, group):
            raise PermissionDenied
        if request.method == "POST":
            if not self.has_operate_permission(request):
                raise PermissionDenied
            self._do(request, request.POST.get("do", ""), [group])
            return HttpResponseRedirect(request.path)
        return TemplateResponse(request, "healthchecks/failure.html", self._context(request, group))

    def _do(self, request: HttpRequest, verb: str, groups: Collection[FailureGroup]) -> None:
        now, user = timezone.now(), request.user
        verbs: dict[str, Callable[[], int]] = {
            "acknowledge": lambda: acknowledge(groups=groups, user=user, now=now),
            "resolve": lambda: resolve(groups=groups, user=user, now=now),
            "mute": lambda: mute(groups=groups, until=now + MUTED_FOR, user=user),
            "unmute": lambda: mute(groups=groups, until=None, user=user),
        }
        if verb not in verbs:
            self.message_user(request, "Nothing was chosen.", messages.ERROR)
            return
        count = verbs[verb]()
        self.message_user(request, f"Changed {count} failure{'' if count == 1 else 's'}.", messages.SUCCESS)

    def _context(self, request: HttpRequest, group: FailureGroup) -> dict[str, Any]:
        now = timezone.now()
        may_see_changes = request.user.has_perm("audit.view_auditentry")
        entries = changes_before(group) if may_see_changes else []
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": f"{group.code} at {group.host}",
            "title": f"{group.code} at {group.host}",
            "group": group,
            "badges": badges(_badges(group)),
            "meaning": meaning_of(group.code),
            "first_seen": ago(group.first_seen, now=now),
            "last_seen": ago(group.last_seen, now=now),
            "is_muted": group.is_muted(now),
            "may_operate": self.has_operate_permission(request),
            "may_see_changes": may_see_changes,
            "minutes_before": int(BEFORE.total_seconds() // 60),
            "changes": entry_views(entries, revert_url=lambda entry: revert_url(entry, request)),
        }


def _badges(group: FailureGroup) -> list[SafeString]:
    state = FailureState(group.state)
    shown = [badge(str(state.label), _STATE_BADGES[state])]
    return [*shown, badge("Muted", "info")] if group.is_muted(timezone.now()) else shown
