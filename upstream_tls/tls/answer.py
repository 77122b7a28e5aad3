"""One HTTP request and the beginning of its answer, as bytes: what a connection test sends and reads.

Laws of this module: bytes in, facts out; no sockets, no clock. Whatever the upstream sends, at most MAX_ANSWER_BYTES of
it are looked at. This is no HTTP parser for traffic: it finds a status and a few words.
"""

import re

from upstream_tls.tls.evidence import HTTPRefusal

MAX_ANSWER_BYTES = 64 * 1024

# RFC 9112 section 4.
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_PROTOCOL = b"HTTP/1."
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,10})[ \t]*\r?\n", re.IGNORECASE)

# RFC 9110 section 15.5.20: the Host field is for a server that does not stand behind this TLS connection.
MISDIRECTED = 421

# nginx's pages for its statuses 496 and 495, which it sends as 400 (ngx_http_special_response.c).
_NONE_SENT = b"No required SSL certificate was sent"
_NOT_ACCEPTED = b"The SSL certificate error"


def request_bytes(host_field: str, path: str) -> bytes:
    """The one request of a test; it asks for the end of the connection.

    GET, because nginx refuses a client certificate with a page, which an answer to HEAD does not have, and because
    there are servers that never answer HEAD (openssl s_server).
    """
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host_field}\r\nUser-Agent: aegis-connection-test\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


class Answer:
    """The answer to one request, fed as it comes. Interim responses (RFC 9110 section 15.2) are skipped.

    `status` is that of the final response, None until its head is complete, and for ever when this is not HTTP/1.1.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.is_complete = False
        self._data = b""
        self._taken_bytes = 0
        self._body_bytes: int | None = None

    @property
    def refusal(self) -> HTTPRefusal | None:
        """Whether the body is nginx's refusal of a client certificate."""
        if self.status != 400:
            return None
        if _NONE_SENT in self._data:
            return HTTPRefusal.NONE_SENT
        return HTTPRefusal.NOT_ACCEPTED if _NOT_ACCEPTED in self._data else None

    @property
    def is_refusal(self) -> bool:
        """Whether the upstream says in HTTP that it does not want us."""
        return self.refusal is not None or self.status == MISDIRECTED

    @property
    def is_malformed(self) -> bool:
        """Whether this can be no HTTP/1.1 response any more."""
        return self.is_complete and self.status is None

    def feed(self, data: bytes) -> None:
        """More of the answer. `is_complete` says when nothing more is worth reading."""
        searched = max(0, len(self._data) - 3)
        self._taken_bytes += len(data)
        self._data += data
        while self.status is None and not self.is_complete:
            end = _HEAD_END.search(self._data, searched)
            if end is None:
                is_http = self._data.startswith(_PROTOCOL[: len(self._data)])
                self.is_complete = not is_http or self._taken_bytes >= MAX_ANSWER_BYTES
                return
            searched = 0
            self._take_head(self._data[: end.end()])
            self._data = self._data[end.end() :]
        self.is_complete = self.is_complete or self._is_read()

    def _is_read(self) -> bool:
        """The body matters for 400 alone."""
        has_all = self._body_bytes is not None and len(self._data) >= self._body_bytes
        is_recognised = self.status != 400 or has_all or self.refusal is not None
        return is_recognised or self._taken_bytes >= MAX_ANSWER_BYTES

    def _take_head(self, head: bytes) -> None:
        line = _STATUS_LINE.match(head)
        if line is None:
            self.is_complete = True  # not HTTP/1.1
            return
        status = int(line[1])
        if status >= 200:
            self.status = status
            length = _CONTENT_LENGTH.search(head)
            self._body_bytes = int(length[1]) if length else None
