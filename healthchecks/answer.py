"""What a check sends, and what it wants of the answer: bytes in, verdict out.

Laws of this module: no sockets, no clock. Status and refusal are found as in a connection test
(`upstream_tls.tls.answer`). Of a body at most MAX_BODY_BYTES are looked at, and none is kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httptools

from healthchecks.validators import StatusRanges
from upstream_tls.tls.answer import Answer

MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and what a good answer has: a status in one of `statuses`, and `body_contains` in its body."""

    method: str
    path: str
    host_field: str
    headers: tuple[tuple[str, str], ...]
    statuses: StatusRanges
    body_contains: bytes

    def as_bytes(self) -> bytes:
        """The request; it asks for the end of the connection."""
        names = {name.lower() for name, _ in self.headers}
        own = [
            (name, value)
            for name, value in (("User-Agent", "aegis-health-check"), ("Accept", "*/*"))
            if name.lower() not in names
        ]
        fields: Iterable[tuple[str, str]] = [
            ("Host", self.host_field),
            *own,
            *self.headers,
            ("Connection", "close"),
        ]
        head = f"{self.method} {self.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
        return head.encode("ascii") + b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an answer will not do."""

    code: str
    message: str


class CheckedAnswer(Answer):
    """The answer to a check, fed as it comes."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        self._is_head_complete = False
        self._body = _Body(is_wanted=bool(request.body_contains) and request.method != "HEAD")

    def feed(self, data: bytes) -> None:
        """More of the answer."""
        if not self._is_head_complete:
            super().feed(data)
            # To HEAD there is no body that a refusal could stand in.
            self._is_head_complete = self.is_complete or (self.status is not None and self._request.method == "HEAD")
        self._body.feed(data)
        self.is_complete = self._is_head_complete and (self.status is None or self._body.is_complete)

    def verdict(self) -> Refusal | None:
        """What is wrong with it, once nothing more comes of what is HTTP; None: nothing."""
        if self.status is None or not any(low <= self.status <= high for low, high in self._request.statuses):
            return Refusal(code="unexpected_status", message=f"The answer has status {self.status}.")
        if self._request.body_contains and self._request.body_contains not in self._body.content:
            return Refusal(code="body_mismatch", message="The body does not contain the expected text.")
        return None


class _Body:
    """The beginning of a body, without its transfer coding."""

    def __init__(self, *, is_wanted: bool) -> None:
        self.content = b""
        self.is_complete = not is_wanted
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        if self.is_complete:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.is_complete = True  # what was read so far counts
        self.is_complete = self.is_complete or len(self.content) >= MAX_BODY_BYTES

    # Called by httptools

    def on_body(self, part: bytes) -> None:
        self.content = (self.content + part)[:MAX_BODY_BYTES]

    def on_message_complete(self) -> None:
        # An interim response (RFC 9110 section 15.2) is a message of its own.
        if self._parser.get_status_code() >= 200:
            self.is_complete = True


def headers_of(stored: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """The stored header fields, in order."""
    return tuple((header["name"], header["value"]) for header in stored)
