"""Log lines as files."""

from pathlib import Path

import pytest

from hosts.logs import downloads
from hosts.logs.downloads import TooManyDownloads, matching_lines, whole_file
from hosts.logs.files import log_files
from hosts.logs.filters import LogFilter
from tests.hosts.logs.examples import answered, write


def test_no_more_lines_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest ones."""
    write(tmp_path, *(answered(100 - n, target=f"/{n}") for n in range(100)))
    monkeypatch.setattr(downloads, "MAX_LINES", 3)
    files = log_files(tmp_path, kinds=("access",))
    text = b"".join(matching_lines(files, LogFilter(), "text").streaming_content)  # type: ignore[arg-type]
    assert [line.split(b"\t")[5] for line in text.splitlines()] == [b"GET /99", b"GET /98", b"GET /97"]


def test_a_whole_file_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was when it was asked for."""
    path = write(tmp_path, *(answered(100 - n) for n in range(100)))
    before = path.read_bytes()
    monkeypatch.setattr(downloads, "PIECE_BYTES", 1000)
    (file,) = log_files(tmp_path, kinds=("access",))
    response = whole_file(file)
    write(tmp_path, answered())
    assert b"".join(response.streaming_content) == before  # type: ignore[arg-type]


def test_no_more_than_a_few_at_once(tmp_path: Path) -> None:
    """Whoever has read one to its end makes room."""
    write(tmp_path, answered())
    (file,) = log_files(tmp_path, kinds=("access",))
    running = [whole_file(file) for _ in range(downloads.MAX_AT_ONCE)]
    with pytest.raises(TooManyDownloads, match="Try again in 10 seconds"):
        whole_file(file)
    for response in running:
        assert list(response.streaming_content)  # type: ignore[arg-type]
    assert downloads._places._value == downloads.MAX_AT_ONCE
