"""How bodies are read off the wire."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyworker.errors import DownstreamProtocolError
from proxyworker.protocol.body import (
    LAST_CHUNK,
    MAX_SIZE_LINE_BYTES,
    MAX_TRAILER_BYTES,
    BodyReader,
    ChunkedReader,
    LengthReader,
    MalformedBody,
    UntilCloseReader,
    chunk,
    limited,
)
from proxyworker.protocol.fields import MAX_FIELDS


def read(reader: BodyReader, *pieces: bytes) -> tuple[bytes, bytes]:
    """The body and what came after it. A reader that is complete gets no more, as in the connections."""
    body = rest = b""
    for piece in pieces:
        if reader.is_complete:
            rest += piece
            continue
        part, rest = reader.feed(piece)
        body += part
        assert not rest or reader.is_complete
    return body, rest


def test_length_reader_stops_where_the_body_ends() -> None:
    """What follows the body is not touched."""
    reader = LengthReader(5)
    assert read(reader, b"he", b"llo", b"GET") == (b"hello", b"GET")
    assert read(LengthReader(2), b"okHTTP/1.1") == (b"ok", b"HTTP/1.1")


def test_length_reader_of_nothing_is_complete_at_once() -> None:
    """A body of zero bytes needs no input."""
    assert LengthReader(0).is_complete


def test_until_close_reader_never_completes() -> None:
    """Only the connection knows the end."""
    reader = UntilCloseReader()
    assert read(reader, b"a", b"b") == (b"ab", b"")
    assert not reader.is_complete


@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    rest=st.binary(max_size=20),
    trailer=st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"]),
    splits=st.lists(st.integers(min_value=0, max_value=2000), max_size=12),
)
def test_chunked_body_comes_back_at_any_split(
    parts: list[bytes], rest: bytes, trailer: bytes, splits: list[int]
) -> None:
    """However the bytes arrive, the body is what was chunked and the rest is what stood behind it."""
    wire = b"".join(map(chunk, parts)) + b"0\r\n" + trailer + b"\r\n" + rest
    edges = sorted({0, len(wire), *(min(split, len(wire)) for split in splits)})
    reader = ChunkedReader()
    assert read(reader, *(wire[a:b] for a, b in itertools.pairwise(edges))) == (b"".join(parts), rest)
    assert reader.is_complete


def test_chunk_extensions_and_trailers_are_no_body() -> None:
    """What is meant for one connection ends here, and trailers are no part of the body."""
    assert read(ChunkedReader(), b'2;a="b;c"\r\nok\r\n0;x\r\nX-Sum: 1\r\n\r\n') == (b"ok", b"")


def test_upper_case_and_leading_zeros_are_sizes() -> None:
    """RFC 9112 section 7.1: chunk-size is 1*HEXDIG."""
    assert read(ChunkedReader(), b"000A\r\n0123456789\r\n" + LAST_CHUNK) == (b"0123456789", b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\nx",
        b"+1\r\nx",
        b"0x1\r\nx",
        b"1 \r\nx",
        b" 1\r\nx",
        b"1_0\r\nx",
        b"11111111111111111\r\n",
        b"1\nx\n0\n\n",
        b"1\r\r\nx",
        b"1;a\nb\r\nx",
        b"1;a\0\r\nx",
        b"1\r\nxy\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1;" + b"e" * MAX_SIZE_LINE_BYTES + b"\r\nx",
        b"1;" + b"e" * MAX_SIZE_LINE_BYTES,
        b"0\r\nA: " + b"b" * MAX_TRAILER_BYTES + b"\r\n",
        b"0\r\nA: " + b"b" * MAX_TRAILER_BYTES,
        b"0\r\n" + b"A: bbbbbbbbbbb\r\n" * (MAX_TRAILER_BYTES // 16 + 1),
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: \x01\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * (MAX_FIELDS + 1),
    ],
)
def test_malformed_chunks_are_refused_whole_and_byte_by_byte(wire: bytes) -> None:
    """What breaks the coding is refused however it arrives, without waiting for more."""
    with pytest.raises(MalformedBody):
        read(ChunkedReader(), wire)
    with pytest.raises(MalformedBody):
        read(ChunkedReader(), *(bytes((byte,)) for byte in wire))


def test_many_tiny_chunks_cost_no_more_than_their_length() -> None:
    """A read full of one-byte chunks is not copied once for every chunk (it took seconds to read 256 KiB)."""

    class CountingBytes(bytes):
        copied = 0

        def __getitem__(self, key: slice) -> bytes:  # type: ignore[override]
            part = bytes.__getitem__(self, key)
            CountingBytes.copied += len(part)
            return part

    wire = CountingBytes(chunk(b"x") * 2000 + LAST_CHUNK)
    body, rest = ChunkedReader().feed(wire)
    assert (len(body), rest) == (2000, b"")
    assert CountingBytes.copied <= len(wire)


@given(size=st.integers(min_value=1, max_value=5000))
def test_chunk_is_what_the_reader_reads(size: int) -> None:
    """Writing and reading agree."""
    assert read(ChunkedReader(), chunk(b"z" * size) + LAST_CHUNK) == (b"z" * size, b"")


@pytest.mark.parametrize("wire", [b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n", b"0\r\nX: 1\r\n\r\n"])
def test_limited_body_up_to_its_limit(wire: bytes) -> None:
    """It is read as it would be without."""
    for split in range(len(wire)):
        reader = limited(ChunkedReader(), None, 5)
        assert read(reader, wire[:split], wire[split:] + b"GET")[1] == b"GET"
        assert reader.is_complete
        assert reader.trailers == [b"X: 1"]


def test_limited_body_over_its_limit() -> None:
    """413: from its length at once, else with the byte that is too much."""
    reader = limited(ChunkedReader(), None, 5)
    assert reader.feed(b"5\r\nabcde\r\n") == (b"abcde", b"")
    with pytest.raises(DownstreamProtocolError, match="413: request body grew over the limit"):
        reader.feed(b"1\r\nf")
    length_reader = LengthReader(5)
    assert limited(length_reader, 5, 5) is length_reader
    with pytest.raises(DownstreamProtocolError, match="413: request body of 6 bytes, over the limit of 5"):
        limited(LengthReader(6), 6, 5)


def test_trailers_are_kept_apart() -> None:
    """As lines, in their order; a body with a length has none."""
    reader = ChunkedReader()
    assert read(reader, b"0\r\nX-A: 1\r\n", b"x-a:2\r\nB:\r\n\r\n") == (b"", b"")
    assert reader.trailers == [b"X-A: 1", b"x-a:2", b"B:"]
    assert not LengthReader(0).trailers
    assert not UntilCloseReader().trailers
