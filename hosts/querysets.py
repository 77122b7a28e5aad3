"""Sets of rows that several parts ask for."""

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from hosts.models import CompiledHost, Host  # noqa: F401 (type parameters)


class HostQuerySet(models.QuerySet["Host"]):
    """Questions about hosts."""

    def with_configuration(self) -> "HostQuerySet":
        """With all that is shown or compiled of a host: three queries, whatever the number of hosts."""
        return self.select_related("upstream_tls").prefetch_related("domains", "upstreams")


class CompiledHostQuerySet(models.QuerySet["CompiledHost"]):
    """Questions about what is published."""

    def newer_than(self, generation: int) -> "CompiledHostQuerySet":
        """What a worker of this generation has not seen, in order. A new worker (0) needs no tombstones."""
        entries = self.filter(generation__gt=generation).order_by("generation")
        return entries if generation else entries.exclude(entry_json="")
