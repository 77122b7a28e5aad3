"""How bodies are read off the wire, and how they are chunked for the next hop (RFC 9112 sections 6 and 7).

Laws of this module: bytes in, bytes out; a reader says how much of its input belonged to the body, so that the message
behind it is never touched. Chunk extensions end here (RFC 9112 section 7.1.1); trailers are kept apart, as lines that
are well-formed and no more: which of them go further is decided in `trailers`.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from proxyworker.errors import DownstreamProtocolError
from proxyworker.protocol.fields import MAX_FIELDS, is_field_line

LAST_CHUNK = b"0\r\n\r\n"

# A size line is at most 16 hex digits; extensions are dropped but may not be used to keep a connection busy.
MAX_SIZE_LINE_BYTES = 256
MAX_TRAILER_BYTES = 8192

_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class MalformedBody(Exception):
    """A body that breaks the chunked coding. The text is for operators."""


class BodyReader(Protocol):
    """Reads one body. `is_complete` turns true with the input that ends it."""

    @property
    def is_complete(self) -> bool:
        """Whether the body is read to its end."""

    @property
    def trailers(self) -> Sequence[bytes]:
        """The field lines behind the body, when it is complete."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """`(body, rest)`: what of `data` belongs to the body, and what comes after it. Raises MalformedBody."""


def chunk(data: bytes) -> bytes:
    """`data` as one chunk. An empty chunk would end the body: callers pass data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class LengthReader:
    """A body of `content_length` bytes."""

    __slots__ = ("_missing", "is_complete")

    trailers: Sequence[bytes] = ()

    def __init__(self, content_length: int) -> None:
        self._missing = content_length
        self.is_complete = content_length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """As BodyReader.feed."""
        if len(data) < self._missing:
            self._missing -= len(data)
            return data, b""
        body, rest = data[: self._missing], data[self._missing :]
        self._missing = 0
        self.is_complete = True
        return body, rest


class UntilCloseReader:
    """A response body that ends with its connection; whether that end was clean, the connection knows."""

    __slots__ = ("is_complete",)

    trailers: Sequence[bytes] = ()

    def __init__(self) -> None:
        self.is_complete = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """As BodyReader.feed."""
        return data, b""


class _State(Enum):
    """SIZE: a chunk's size line; DATA: its bytes; DATA_END: the CRLF behind them; TRAILER: fields to an empty line."""

    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


# Looking a member up on its class takes as long as a call in Python 3.11; these are needed for every chunk.
_SIZE, _DATA, _DATA_END, _TRAILER = _State


class ChunkedReader:
    """A chunked body. Strict: CRLF only, hex digits only."""

    __slots__ = ("_missing", "_pending", "_state", "_trailer_bytes", "is_complete", "trailers")

    def __init__(self) -> None:
        self._state = _SIZE
        self._missing = 0
        self._pending = b""
        self._trailer_bytes = 0
        self.trailers: list[bytes] = []
        self.is_complete = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """As BodyReader.feed."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        parts: list[bytes] = []
        # A position instead of a slice of the rest: a body of tiny chunks costs no more than its length.
        position = 0
        while position < len(data) and not self.is_complete:
            if self._state is _DATA:
                part = data[position : position + self._missing]
                position += len(part)
                self._missing -= len(part)
                parts.append(part)
                if not self._missing:
                    self._state = _DATA_END
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._hold(data[position:])
                return b"".join(parts), b""
            self._line(data[position:end])
            position = end + 2
        return b"".join(parts), data[position:]

    def _hold(self, data: bytes) -> None:
        limit = MAX_TRAILER_BYTES if self._state is _TRAILER else MAX_SIZE_LINE_BYTES
        # Between chunks only CRLF may stand, and LF never alone: do not wait for the rest of something else.
        if len(data) > limit or b"\n" in data or (self._state is _DATA_END and data != b"\r"):
            raise MalformedBody("malformed chunk")
        self._pending = data

    def _line(self, line: bytes) -> None:
        if b"\n" in line or b"\r" in line or b"\0" in line:
            raise MalformedBody("control character in a chunk's framing")
        if self._state is _SIZE:
            self._missing = _chunk_size(line)
            self._state = _DATA if self._missing else _TRAILER
        elif self._state is _DATA_END:
            if line:
                raise MalformedBody("chunk longer than its size")
            self._state = _SIZE
        elif line:
            self._trailer(line)
        else:
            self.is_complete = True

    def _trailer(self, line: bytes) -> None:
        """As strict as for a field of a head: a continuation line or a name that is no token is refused."""
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_TRAILER_BYTES or len(self.trailers) == MAX_FIELDS:
            raise MalformedBody(f"trailer section over {MAX_TRAILER_BYTES} bytes or {MAX_FIELDS} fields")
        if is_field_line(line) is None:
            raise MalformedBody("malformed trailer field")
        self.trailers.append(line)


class _LimitedReader:
    """What another reader reads, up to a limit. Raises DownstreamProtocolError with 413 for more."""

    __slots__ = ("_reader", "_room_bytes")

    def __init__(self, reader: BodyReader, max_bytes: int) -> None:
        self._reader = reader
        self._room_bytes = max_bytes

    @property
    def is_complete(self) -> bool:
        return self._reader.is_complete

    @property
    def trailers(self) -> Sequence[bytes]:
        return self._reader.trailers

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """As BodyReader.feed."""
        body, rest = self._reader.feed(data)
        self._room_bytes -= len(body)
        if self._room_bytes < 0:
            raise DownstreamProtocolError(413, "request body grew over the limit")
        return body, rest


def limited(reader: BodyReader, content_length: int | None, max_bytes: int) -> BodyReader:
    """What reads a request's body of at most `max_bytes`, told from its length at once, else while it comes."""
    if content_length is None:
        return _LimitedReader(reader, max_bytes)
    if content_length > max_bytes:
        raise DownstreamProtocolError(413, f"request body of {content_length} bytes, over the limit of {max_bytes}")
    return reader


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0]
    if len(line) > MAX_SIZE_LINE_BYTES or not 1 <= len(digits) <= 16 or not _HEX_DIGITS.issuperset(digits):
        raise MalformedBody("invalid chunk size")
    return int(digits, 16)
