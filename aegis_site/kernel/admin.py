"""What the apps' admin pages share.

Laws of this module: nothing about a particular model. unfold carries no types, so its decorators are taken from here,
where they keep the type of what they decorate.
"""

import functools
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


def shown_once(method: F) -> F:
    """For a costly value on the page of one object: unfold asks five times for what a read-only field shows.

    It is remembered at the object, which is read anew for each request.
    """
    name = f"_shown_{method.__name__}"

    @functools.wraps(method)
    def shown(self: Any, obj: Model) -> Any:
        if name not in obj.__dict__:
            obj.__dict__[name] = method(self, obj)
        return obj.__dict__[name]

    return cast("F", shown)


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
