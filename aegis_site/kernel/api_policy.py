"""Who may use the API, how much may be sent, and how lists are cut: the classes that settings name.

Laws of this module: who may do what is decided by Django's model permissions, reading included; a request body is JSON
and has a limit. No view, router or serializer is imported: DRF loads this module while it loads those.
"""

import io
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.parsers import JSONParser
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

_VIEW, _ADD, _CHANGE, _DELETE = (f"%(app_label)s.{verb}_%(model_name)s" for verb in ("view", "add", "change", "delete"))


# A host with everything has some hundreds. Of twelve megabytes of `{},` each value would take twenty times its text.
MAX_VALUES = 100_000

# As many hosts as nobody has, one on each page.
MAX_PAGE = 1_000_000


class ModelPermissions(DjangoModelPermissions):
    """Django's permissions of the view's model.

    Unlike DRF's own class, reading needs `view`, and so does writing: it answers with the representation.
    """

    perms_map = {
        "GET": [_VIEW],
        "HEAD": [_VIEW],
        "OPTIONS": [_VIEW],
        "POST": [_ADD, _VIEW],
        "PUT": [_CHANGE, _VIEW],
        "PATCH": [_CHANGE, _VIEW],
        "DELETE": [_DELETE],
    }


class MayChange(ModelPermissions):
    """For a POST that makes no row of the view's model: it asks for what a change would."""

    perms_map = {**ModelPermissions.perms_map, "POST": ModelPermissions.perms_map["PATCH"]}


class Pagination(PageNumberPagination):
    """`?page=` and `?page_size=`. A page behind the last one does not exist; anything but a number is refused."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def get_page_number(self, request: Request, paginator: Any) -> int:
        return self._number(request, self.page_query_param, highest=MAX_PAGE) or 1

    def check(self, request: Request) -> None:
        """To be called by who answers with all that there are: a wrong number is refused there too."""
        self.get_page_number(request, None)
        self.get_page_size(request)

    def get_page_size(self, request: Request) -> int:
        return self._number(request, self.page_size_query_param, highest=self.max_page_size) or self.page_size

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        page, page_size = super().get_schema_operation_parameters(view)
        page["schema"] |= {"minimum": 1, "maximum": MAX_PAGE}
        page_size["schema"] |= {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [page, page_size]

    @staticmethod
    def _number(request: Request, name: str, *, highest: int) -> int | None:
        text = request.query_params.get(name)
        if text is None:
            return None
        if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= highest:
            raise exceptions.ValidationError({name: f"A number from 1 to {highest}."}, code="out_of_range")
        return int(text)


def count_values(document: bytes) -> int:
    """No fewer values than JSON has, before anything is built: what stands in texts is counted as well."""
    return sum(map(document.count, (b",", b"[", b"{")))


class LimitedJSONParser(JSONParser):
    """JSON of at most DATA_UPLOAD_MAX_MEMORY_SIZE bytes and about MAX_VALUES values.

    Where DRF reads the raw stream, Django's own limit does not apply: one request could fill the memory.
    """

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        limit_bytes = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit_bytes + 1)
        if len(body) > limit_bytes or count_values(body) > MAX_VALUES:
            raise RequestDataTooBig
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError("JSON parse error - nested too deeply") from error


class DownloadNegotiation(DefaultContentNegotiation):
    """For views whose answer is a file: whatever the client accepts, it gets the file, and errors as JSON."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return JSONRenderer(), JSONRenderer.media_type
