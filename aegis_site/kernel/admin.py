"""What the apps' admin pages share.

Laws of this module: nothing about a particular model. unfold carries no types, so its decorators are taken from here,
where they keep the type of what they decorate.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.db.models import Model
from django.http import HttpRequest
from unfold import decorators
from unfold.admin import ModelAdmin

F = TypeVar("F", bound=Callable[..., Any])


def display(**options: Any) -> Callable[[F], F]:
    """`unfold.decorators.display`."""
    return cast("Callable[[F], F]", decorators.display(**options))


def action(**options: Any) -> Callable[[F], F]:
    """`unfold.decorators.action`.

    In `actions_list`, `actions_row` and `actions_detail` it becomes a GET link: for downloads, never for changes.
    """
    return cast("Callable[[F], F]", decorators.action(**options))


class ReadOnlyAdmin(ModelAdmin):
    """Pages of rows that only services make, and nobody changes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
