"""What the apps' admin pages share."""

from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import ReadOnlyAdmin, action, display, shown_once
from aegis_site.kernel.audit.models import AuditEntry


def test_decorators_do_what_unfolds_do() -> None:
    """The typed decorators carry their options over to what they decorate."""

    @display(description="Name", ordering="name")
    def name(row: object) -> str:
        return "x"

    @action(description="Download", permissions=["view"])
    def download(model_admin: ModelAdmin, request: object) -> str:
        return "y"

    assert (name.short_description, name.admin_order_field) == ("Name", "name")  # type: ignore[attr-defined]
    assert (download.short_description, download.allowed_permissions) == ("Download", ["view"])  # type: ignore[attr-defined]


def test_a_costly_value_is_made_once_for_each_object() -> None:
    """However often the page asks; another one gets its own, and so does the same one of another request."""
    made = []

    class Page:
        @shown_once
        def facts(self, entry: AuditEntry) -> str:
            made.append(entry)
            return f"{entry.target_name} {len(made)}"

    one, other = AuditEntry(target_name="one"), AuditEntry(target_name="other")
    assert [Page().facts(entry) for entry in (one, one, other, one)] == ["one 1", "one 1", "other 2", "one 1"]


def test_read_only_pages_have_no_way_to_write() -> None:
    """Nobody adds, changes or deletes."""
    refuses = [ReadOnlyAdmin.has_add_permission, ReadOnlyAdmin.has_change_permission]
    assert not any(has_permission(None, None) for has_permission in [*refuses, ReadOnlyAdmin.has_delete_permission])  # type: ignore[arg-type]
