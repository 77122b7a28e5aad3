"""The tabs of the host editor: which part of the form stands in which.

Laws of this module: every part of the form is in exactly one tab, what nobody has placed in the last one with fields;
whether it is shown is decided in the browser (`editor_tabs.js`), and without a script all of it is, below each other.
No query of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.utils import flatten
from django.utils.safestring import SafeString

# Address and label of each, in the order in which a host is set up.
TABS = (
    ("general", "General"),
    ("upstreams", "Upstreams"),
    ("upstream-tls", "Upstream TLS"),
    ("health", "Health"),
    ("certificates", "Certificates"),
    ("advanced", "Advanced"),
    ("history", "History"),
)
_ELSE = "advanced"

# Fieldsets by their headings, inlines by the prefixes of their formsets.
_PLACES = {
    "General": "general",
    "upstreams": "upstreams",
    "Upstream TLS": "upstream-tls",
    "Connection test": "upstream-tls",
    "health_check": "health",
    "Traffic statistics": "health",
    "Proxy workers": "health",
    "Client certificate": "certificates",
    "HTTPS towards clients": "certificates",
}


@dataclass(slots=True, kw_only=True)
class Tab:
    """One tab; `is_first_shown`: it is open when the page appears, unless its address names another one."""

    slug: str
    label: str
    fieldsets: list[Any] = field(default_factory=list)
    inlines: list[Any] = field(default_factory=list)
    extra: SafeString | None = None
    error_count: int = 0
    is_first_shown: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.fieldsets or self.inlines or self.extra)

    @property
    def is_single(self) -> bool:
        """Whether the label of the tab says what a heading in it would say again."""
        return len(self.fieldsets) + len(self.inlines) == 1


class EditorTabs:
    """The tabs of one page. To be iterated by its template, when all mixins have said what the form is."""

    def __init__(self, adminform: Any, inlines: Iterable[Any], *, history: SafeString | None) -> None:
        self._adminform = adminform
        self._inlines = inlines
        self._history = history

    def __iter__(self) -> Iterator[Tab]:
        """Those with something in them; the first with an error is shown first."""
        tabs = {slug: Tab(slug=slug, label=label) for slug, label in TABS}
        for fieldset in self._adminform:
            tab = tabs[_PLACES.get(fieldset.name, _ELSE)]
            tab.fieldsets.append(fieldset)
            tab.error_count += sum(name in self._adminform.form.errors for name in flatten(fieldset.fields))
        for inline in self._inlines:
            tab = tabs[_PLACES.get(inline.formset.prefix, _ELSE)]
            tab.inlines.append(inline)
            tab.error_count += inline.formset.total_error_count()
        tabs["history"].extra = self._history
        shown = [tab for tab in tabs.values() if not tab.is_empty]
        next((tab for tab in shown if tab.error_count), shown[0]).is_first_shown = True
        return iter(shown)
