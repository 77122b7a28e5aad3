"""Rows of the host editor that are a part of their host."""

from typing import Any

from django.http import HttpRequest

from hosts.models import Host


class PartOfHost:
    """To be mixed into an inline, in front: who may do something with a host may do it with its parts."""

    def has_view_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        return any(_may(request, right) for right in ("view", "change", "add"))

    def has_change_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        return _may(request, "add" if obj is None else "change")

    def has_add_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        return self.has_change_permission(request, obj)


def _may(request: HttpRequest, right: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"hosts.{right}_host"))
