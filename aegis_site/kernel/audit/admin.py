"""Admin pages of the audit log: to be read only, by who has the right to."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from aegis_site.kernel.admin import ReadOnlyAdmin, display
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.panels import action_label, changes_panel, summary
from aegis_site.kernel.audit.selectors import stored_values


class StoredValuesFilter(admin.AllValuesFieldListFilter):
    """The values that occur, of a column that other parts of the product fill as they like."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        self.lookup_choices: Any = stored_values(field.name)

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            yield {**choice, "display": action_label(str(choice["display"]))}


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who changed what. Nobody changes or deletes an entry here, whatever his rights."""

    list_display = ["moment", "who", "origin", "what", "target_type", "target_name", "fields_changed"]
    list_display_links = ["moment"]
    list_filter = ["user", "origin", ("action", StoredValuesFilter), ("target_type", StoredValuesFilter), "at"]
    search_fields = ["target_name", "target_id", "user_name"]
    search_help_text = "Name or id of what was changed, or name of the user."
    list_per_page = 50
    # Counts beside the filters would be a query for each value.
    show_facets = admin.ShowFacets.NEVER
    readonly_fields = ["moment", "what", "who", "before_and_after"]
    fieldsets = [
        (None, {"fields": ["moment", "who", "origin", "client_address"]}),
        ("Change", {"fields": ["what", "target_type", "target_name", "target_id", "before_and_after"]}),
    ]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        # An entry is history and has none.
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})

    @display(description="Time", ordering="at")
    def moment(self, entry: AuditEntry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S} UTC"

    @display(description="Action", ordering="action")
    def what(self, entry: AuditEntry) -> str:
        return action_label(entry.action)

    @display(description="User", ordering="user_name")
    def who(self, entry: AuditEntry) -> str:
        return entry.user_name or "—"

    @display(description="Fields")
    def fields_changed(self, entry: AuditEntry) -> str:
        return summary(entry.changes)

    @display(description="Before and after")
    def before_and_after(self, entry: AuditEntry) -> SafeString:
        return changes_panel(entry.changes)
