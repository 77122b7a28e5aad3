"""Counting the TLS records of a byte stream."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from proxyworker.net.tls import RECORD_HEADER_BYTES, RecordCounter


class ReferenceCounter:
    """The same question, answered byte by byte."""

    def __init__(self) -> None:
        self._seen = b""

    def feed(self, data: bytes) -> int:
        complete = 0
        for byte in data:
            self._seen += bytes((byte,))
            body = int.from_bytes(self._seen[3:5], "big")
            if len(self._seen) >= RECORD_HEADER_BYTES and len(self._seen) == RECORD_HEADER_BYTES + body:
                complete += 1
                self._seen = b""
        return complete


@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 5, 255, 256, 300]), max_size=8),
    splits=st.lists(st.integers(min_value=0, max_value=1500), max_size=12),
)
def test_record_counter_agrees_with_the_reference(sizes: list[int], splits: list[int]) -> None:
    """However the stream is cut, empty records included."""
    stream = b"".join(b"\x17\x03\x03" + size.to_bytes(2, "big") + b"x" * size for size in sizes)
    edges = sorted({0, len(stream), *(min(split, len(stream)) for split in splits)})
    counter, reference = RecordCounter(), ReferenceCounter()
    total = 0
    for start, end in itertools.pairwise(edges):
        counted = counter.feed(stream[start:end])
        assert counted == reference.feed(stream[start:end])
        total += counted
    assert total == len(sizes)


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_record_counter_takes_any_bytes(pieces: list[bytes]) -> None:
    """Garbage is counted as what its lengths say; OpenSSL judges it."""
    counter, reference = RecordCounter(), ReferenceCounter()
    assert [counter.feed(piece) for piece in pieces] == [reference.feed(piece) for piece in pieces]
