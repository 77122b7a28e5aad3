"""The filters of the list of hosts.

Laws of this module: what a filter means is decided where the rest of Aegis asks the same; a value that is none of its
words filters nothing. Each costs a number of queries that does not depend on the number of hosts.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from hosts.connection_tests import last_success
from hosts.models import Host
from hosts.posture_filters import PostureFilter, filtered
from hosts.querysets import HostQuerySet
from hosts.selectors import tags_in_use
from hosts.status import HostStatus

EXPIRING_DAYS = (0, 7, 30, 90)


class _OneOf(admin.SimpleListFilter):
    """A choice between a few words."""

    def wanted(self) -> str | None:
        """The word that was chosen, if it is one."""
        value = self.value()
        return value if value in {word for word, _ in self.lookup_choices} else None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        word = self.wanted()
        return None if word is None else self.narrowed(queryset, word)  # type: ignore[arg-type]

    def narrowed(self, hosts: HostQuerySet, word: str) -> QuerySet[Host]:
        raise NotImplementedError


class StatusFilter(_OneOf):
    """By the state that the list shows."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(status.name.lower(), str(status.label)) for status in HostStatus]

    def narrowed(self, hosts: HostQuerySet, word: str) -> QuerySet[Host]:
        return hosts.filter(Q(("status", HostStatus[word.upper()])))


class VerificationFilter(_OneOf):
    """By what verifies the upstreams' certificates."""

    title = "verification"
    parameter_name = "verification"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [("ca", "Own CA certificate"), ("system", "System trust store"), ("skipped", "Skipped")]

    def narrowed(self, hosts: HostQuerySet, word: str) -> QuerySet[Host]:
        now = timezone.now()
        verified = hosts.exclude(pk__in=hosts.skipping_verification(now).values("pk"))
        match word:
            case "ca":
                return verified.filter(upstream_tls__ca_certificate__gt="")
            case "system":
                return verified.exclude(upstream_tls__ca_certificate__gt="")
            case _:
                return hosts.skipping_verification(now)


class TagFilter(_OneOf):
    """By one of the tags that are in use."""

    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(tag, tag) for tag in tags_in_use()]

    def narrowed(self, hosts: HostQuerySet, word: str) -> QuerySet[Host]:
        return hosts.tagged(word)


class ExpiringFilter(_OneOf):
    """By certificates that end soon, on both sides of the host. Reads all certificates when it is used."""

    title = "certificate expires"
    parameter_name = "expiring"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(days), f"Within {days} days" if days else "Expired") for days in EXPIRING_DAYS]

    def narrowed(self, hosts: HostQuerySet, word: str) -> QuerySet[Host]:
        return filtered(hosts, PostureFilter(expiring_within_days=int(word)), now=timezone.now())


class LastTestFilter(_OneOf):
    """By what came of the last connection test of the host as saved."""

    title = "last test"
    parameter_name = "last_test"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [("failed", "Failed"), ("ok", "OK"), ("never", "Never tested")]

    def narrowed(self, hosts: HostQuerySet, word: str) -> QuerySet[Host]:
        wanted = {"failed": False, "ok": True, "never": None}[word]
        tested = hosts.alias(last_success=last_success())
        return tested.filter(last_success__isnull=True) if wanted is None else tested.filter(last_success=wanted)


HOST_FILTERS: Sequence[Any] = [
    StatusFilter,
    "upstream_tls__enabled",
    VerificationFilter,
    "upstream_tls__skip_verify",
    TagFilter,
    ExpiringFilter,
    LastTestFilter,
    "enabled",
]
