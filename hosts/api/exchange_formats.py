"""How documents of hosts come in and go out: JSON, YAML, and lines of progress."""

from typing import Any

from rest_framework import exceptions
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer

from hosts.exchange.reading import (
    MAX_DOCUMENT_BYTES,
    DocumentTooLarge,
    DocumentUnreadable,
    Format,
    read_document,
    write_document,
)


class TooLarge(exceptions.APIException):
    """The document has more bytes than are read."""

    status_code = 413
    default_code = "document_too_large"


class DocumentParser(BaseParser):
    """JSON of documents: as strict as their YAML."""

    media_type = "application/json"
    form = Format.JSON

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return read_document(stream.read(MAX_DOCUMENT_BYTES + 1), self.form)
        except DocumentTooLarge as error:
            raise TooLarge(error.message, code=error.code) from error
        except DocumentUnreadable as error:
            raise exceptions.ParseError(error.message) from error


class YAMLDocumentParser(DocumentParser):
    """YAML (RFC 9512)."""

    media_type = "application/yaml"
    form = Format.YAML


class YAMLDocumentRenderer(BaseRenderer):
    """YAML; errors are problem documents, which are JSON."""

    media_type = "application/yaml"
    format = "yaml"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None and response.exception:
            rendered: bytes = JSONRenderer().render(data)
            return rendered
        return write_document(data, Format.YAML).encode()


class JSONDocumentRenderer(JSONRenderer):
    """JSON, indented."""

    def get_indent(self, accepted_media_type: str, renderer_context: Any) -> int | None:
        return 2


class ProgressRenderer(JSONRenderer):
    """Asks for a line of JSON for every few hosts while they are imported, and the result as the last line."""

    media_type = "application/x-ndjson"
    format = "ndjson"
