"""The admin site: the product's face. Its pages belong to the apps; here is what concerns the whole."""

from typing import Any

from django.http import HttpRequest
from unfold.sites import UnfoldAdminSite


class AegisAdminSite(UnfoldAdminSite):
    """unfold's site under Aegis's name."""


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar."""
    return []
