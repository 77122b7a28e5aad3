"""The rows of the admin's lists.

Laws of this module:
- A row is what unfold's own tag would make of it, to the letter; a test compares them for every list. Why not that tag:
  for each row it computes all headers anew, with their addresses for sorting, and renders a template for the box, for
  each boolean, for each label and for the row itself, which is half of what a list of hosts costs.
- Whatever only some lists have (cells to edit, sections, sorting by hand, actions of a row, popups) is left to unfold:
  see `templates/admin/change_list.html`.
"""

from collections.abc import Callable, Iterator
from datetime import date, time
from typing import Any

from django import template
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import lookup_field
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import BooleanField, DateField, ForeignKey, Model, TimeField
from django.urls import NoReverseMatch
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.admin import checkbox
from unfold.templatetags.unfold_list import CHECKBOX_CLASSES, LINK_CLASSES, ROW_CLASSES, result_headers
from unfold.utils import display_for_field, display_for_label, display_for_value

register = template.Library()

BOX = "action_checkbox"
# Stands for the row's id while the box is rendered, once for all rows.
_ID = "aegis-row-id"


@register.inclusion_tag("aegis_site/result_list.html", takes_context=True)
def result_list(context: template.Context, cl: ChangeList) -> dict[str, Any]:
    """The table of a list: what its template needs."""
    headers = list(result_headers(cl))
    return {
        "cl": cl,
        "result_headers": headers,
        "num_sorted_fields": sum(bool(header["sortable"] and header["sorted"]) for header in headers),
        "rows": list(_rows(cl, headers)),
        "has_add_permission": cl.model_admin.has_add_permission(context["request"]),
    }


def _rows(cl: ChangeList, headers: list[dict[str, Any]]) -> Iterator[SafeString]:
    draw = [
        _boxes() if name == BOX else Column(cl, str(name), header["text"])
        for name, header in zip(cl.list_display, headers, strict=True)
    ]
    for row in cl.result_list:
        yield mark_safe("".join(cell(row) for cell in draw))  # noqa: S308 (cells are escaped)


def _boxes() -> Callable[[Model], str]:
    """The cell by which a row is selected."""
    box = checkbox.render(ACTION_CHECKBOX_NAME, _ID)
    before, after = _cell("td", CHECKBOX_CLASSES, "Select record", mark_safe(box)).split(_ID)  # noqa: S308 (a widget's)
    return lambda row: f"{before}{conditional_escape(row.pk)}{after}"


class Column:
    """The cells of one column. Texts that come from a template are rendered once for each value."""

    def __init__(self, cl: ChangeList, name: str, heading: str) -> None:
        links = cl.list_display_links or ()
        self._cl = cl
        self._name = name
        self._is_link = name in links
        classes = [f"field-{name}", *ROW_CLASSES]
        tag = "th" if name in links[:1] else "td"
        self._around, self._around_moments = (
            _cell(tag, [*classes, *more], heading, _ID).split(_ID) for more in ((), ("nowrap",))
        )
        self._empty = cl.model_admin.get_empty_value_display()
        self._rendered: dict[Any, str] = {}

    def __call__(self, row: Model) -> str:
        text, is_moment = self._text(row)
        before, after = self._around_moments if is_moment else self._around
        return f"{before}{conditional_escape(self._linked(row, text) if self._is_link else text)}{after}"

    def _text(self, row: Model) -> tuple[Any, bool]:
        """What the cell says, and whether that must not wrap."""
        admin = self._cl.model_admin
        empty = self._empty
        try:
            field, attr, value = lookup_field(self._name, row, admin)
        except ObjectDoesNotExist:
            return empty, False
        empty = getattr(attr, "empty_value_display", empty)
        if field is None or field.auto_created:
            return self._computed(value, attr, empty), isinstance(value, date | time)
        if isinstance(field, ForeignKey):
            related = getattr(row, field.name)
            return empty if related is None else related, True
        if isinstance(field, BooleanField):
            return self._once(value, lambda: display_for_field(value, field, empty)), False
        return display_for_field(value, field, empty), isinstance(field, DateField | TimeField)

    def _computed(self, value: Any, attr: Any, empty: str) -> str:
        """What a method or property of the row or the admin says."""
        if label := getattr(attr, "label", False):
            return self._once(value, lambda: display_for_label(value, empty, label))
        if getattr(attr, "boolean", False):
            return self._once(value, lambda: display_for_value(value, empty, boolean=True))
        return str(display_for_value(value, empty))

    def _once(self, value: Any, render: Callable[[], str]) -> str:
        if value not in self._rendered:
            self._rendered[value] = render()
        return self._rendered[value]

    def _linked(self, row: Model, text: Any) -> Any:
        cl = self._cl
        try:
            url = cl.url_for_result(row)
        except NoReverseMatch:
            return text
        if cl.preserved_filters:
            url = add_preserved_filters({"preserved_filters": cl.preserved_filters, "opts": cl.opts}, url)
        return format_html('<a href="{}" class="{}" >{}</a>', url, " ".join(LINK_CLASSES), text)


def _cell(tag: str, classes: list[str], heading: str, text: str) -> str:
    return format_html(
        '<{} class="{}" data-label="{}">{}</{}>',
        mark_safe(tag),  # noqa: S308 (of this module)
        mark_safe(" ".join(classes)),  # noqa: S308 (unfold's, and names of attributes)
        heading,
        text,
        mark_safe(tag),  # noqa: S308 (of this module)
    )
