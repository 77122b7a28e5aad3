"""Sections of a host that apps above this one own, such as its health check: one row for each host.

Laws of this module:
- An app registers its section when it is loaded (`AppConfig.ready`). Whatever reads, writes, shows, exports or records
  hosts asks here, so that the section is a part of the host everywhere, and no import points upwards.
- A host without a row has the section's defaults, which is also what a new row says.
- Serializer, inline and pages are named by dotted paths: the proxy worker loads neither the API nor the admin.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.module_loading import import_string

from hosts.field_errors import FieldErrors

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.urls import URLPattern

    from hosts.models import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSection:
    """One section.

    `name` is that of its field in documents, and the related name of its model's OneToOneField `host`. `defaults` are
    what a whole document means by leaving a value out. `apply` assigns new values to a row and saves nothing; it raises
    ValidationError with every error, keyed by field. `pages`, when there are any, gives an admin site their addresses,
    below that of hosts.
    """

    name: str
    model: type[models.Model]
    defaults: Mapping[str, Any]
    apply: Callable[[Any, Mapping[str, Any]], None]
    serializer: str
    inline: str
    pages: str = ""

    def row_of(self, host: "Host") -> Any:
        """What is stored, or a new row that has the defaults. No query `with_configuration`."""
        return getattr(host, self.name, None) or self.model(host=host)

    def make_serializer(self) -> Any:
        """The field of the host's serializer."""
        return import_string(self.serializer)(required=False)


_sections: dict[str, HostSection] = {}


def register(section: HostSection) -> None:
    """Make `section` a part of all hosts."""
    _sections[section.name] = section


def registered() -> tuple[HostSection, ...]:
    """All sections, in the order of their apps."""
    return tuple(_sections.values())


def related_names() -> tuple[str, ...]:
    """The names for `select_related`."""
    return tuple(_sections)


def inlines() -> list[type[Any]]:
    """The parts of the host editor."""
    return [import_string(section.inline) for section in registered()]


def pages(admin_site: "AdminSite") -> list["URLPattern"]:
    """The pages of sections in the admin."""
    return [page for section in registered() if section.pages for page in import_string(section.pages)(admin_site)]


def values_of(document: Mapping[str, Any], *, is_whole: bool) -> dict[str, Mapping[str, Any]]:
    """What a validated document says about the sections, as `HostSpec.sections`."""
    return {
        section.name: {**(section.defaults if is_whole else {}), **document.get(section.name, {})}
        for section in registered()
        if is_whole or section.name in document
    }


def apply_sections(
    host: "Host", changes: Mapping[str, Mapping[str, Any]], errors: FieldErrors, *, is_new: bool
) -> Iterator[models.Model]:
    """The rows of `host` that are to be saved with it: all of a new host, else those that `changes` names."""
    for section in registered():
        if not is_new and section.name not in changes:
            continue
        row = section.model(host=host) if is_new else section.row_of(host)
        with errors.under(section.name):
            section.apply(row, changes.get(section.name, {}))
        yield row
