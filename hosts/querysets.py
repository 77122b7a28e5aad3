"""Sets of rows that several parts ask for."""

import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Cast

from hosts.sections import related_names

if TYPE_CHECKING:
    from hosts.models import CompiledHost, ConnectionTest, Host  # noqa: F401 (type parameters)


class HostQuerySet(models.QuerySet["Host"]):
    """Questions about hosts."""

    def with_settings(self) -> "HostQuerySet":
        """With the rows of which a host has one each: one query."""
        return self.select_related("upstream_tls", "downstream_tls", "traffic", *related_names())

    def tagged(self, tag: str) -> "HostQuerySet":
        """Those that have this tag, in any case. A tag has no character that JSON or LIKE would write otherwise."""
        written = Cast("tags", models.TextField())
        return self.alias(tags_text=written).filter(tags_text__contains=f'"{tag.strip().lower()}"')

    def skipping_verification(self, now: datetime.datetime) -> "HostQuerySet":
        """Those that accept any certificate of their upstreams at this moment."""
        is_over = models.Q(upstream_tls__skip_verify_until__lte=now)
        return self.filter(models.Q(upstream_tls__skip_verify=True) & ~is_over)

    def with_configuration(self) -> "HostQuerySet":
        """With all that is shown or compiled of a host: three queries, whatever the number of hosts."""
        return self.with_settings().prefetch_related("domains", "upstreams")


class CompiledHostQuerySet(models.QuerySet["CompiledHost"]):
    """Questions about what is published."""

    def newer_than(self, generation: int) -> "CompiledHostQuerySet":
        """What a worker of this generation has not seen, in order. A new worker (0) needs no tombstones."""
        entries = self.filter(generation__gt=generation).order_by("generation")
        return entries if generation else entries.exclude(entry_json="")


class ConnectionTestQuerySet(models.QuerySet["ConnectionTest"]):
    """Questions about connection tests, and the one way in which they end without a result."""

    def unfinished(self) -> "ConnectionTestQuerySet":
        """Those of which more will come."""
        return self.filter(state__in=("queued", "running"))

    def overdue(
        self, now: datetime.datetime, *, taken_within: datetime.timedelta, ended_within: datetime.timedelta
    ) -> "ConnectionTestQuerySet":
        """Those that no worker took, or that did not end, in time since they were requested."""
        return self.filter(
            models.Q(state="queued", created_at__lt=now - taken_within)
            | models.Q(state="running", created_at__lt=now - ended_within)
        )

    def expire(self, now: datetime.datetime) -> int:
        """End those that are unfinished at this very moment. How many there were."""
        return self.unfinished().update(state="expired", job=None, finished_at=now)
