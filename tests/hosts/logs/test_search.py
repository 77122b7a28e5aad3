"""Searches log files backwards, newest lines first, and says where to go on."""

import datetime
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hosts.logs import search as search_module
from hosts.logs.files import log_files
from hosts.logs.filters import LogFilter
from hosts.logs.search import Found, TooManySearches, is_key, search
from tests.hosts.logs.examples import NOW, answered, as_line, at, attempted, write


def found(directory: Path, stem: str | None = None, **options: Any) -> Found:
    names = LogFilter.__dataclass_fields__
    wanted = LogFilter(**{name: options.pop(name) for name in list(options) if name in names})
    return search(log_files(directory, kinds=tuple(wanted.kinds), stem=stem), wanted, **options)


def targets(page: Found) -> list[str]:
    return [entry.target for entry in page.entries]


def all_pages(directory: Path, **options: Any) -> list[str]:
    """The targets of all pages, one after the other."""
    seen, cursor = list[str](), ""
    for _ in range(1000):
        page = found(directory, before=cursor, **options)
        seen += targets(page)
        if not page.cursor:
            return seen
        assert is_key(page.cursor)
        assert not cursor or page.cursor < cursor
        cursor = page.cursor
    raise AssertionError("it never ends")


def test_newest_first_in_pages_over_hosts_and_older_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing twice, nothing left out, whatever the size of a page and of a piece."""
    numbers = range(300)
    for number in numbers:
        host, age = f"h{number % 3}.test", 2 - number // 100
        write(tmp_path, answered(300 - number, host=host, target=f"/{number}"), host=host, number=age)
    expected = [f"/{number}" for number in reversed(numbers)]
    for limit, piece_bytes in ((7, 2_000), (100, 700), (1000, 1_000_000)):
        monkeypatch.setattr(search_module, "PIECE_BYTES", piece_bytes)
        assert all_pages(tmp_path, limit=limit) == expected
    assert all_pages(tmp_path, stem="h1.test", limit=10) == expected[1::3]
    assert found(tmp_path, limit=300).cursor == ""


def test_lines_of_several_processes_are_nearly_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writes a while after the fact; pages are in order all the same."""
    monkeypatch.setattr(search_module, "PIECE_BYTES", 3_000)
    shuffled = sorted(range(400), key=lambda number: number + random.Random(number).uniform(0, 10))
    write(tmp_path, *(answered(100 - number / 4, target=f"/{number}") for number in shuffled))
    assert all_pages(tmp_path, limit=9) == [f"/{number}" for number in reversed(range(400))]


def test_a_file_is_rotated_between_two_pages(tmp_path: Path) -> None:
    """The cursor still means the same place, and new lines do not come between."""
    path = write(tmp_path, *(answered(50 - number, target=f"/{number}") for number in range(50)))
    first = found(tmp_path, limit=10)
    path.rename(f"{path}.1")
    write(tmp_path, answered(-1, target="/new"))
    second = found(tmp_path, limit=100, before=first.cursor)
    assert targets(first) + targets(second) == [f"/{number}" for number in reversed(range(50))]
    assert targets(found(tmp_path, after=first.entries[0].key)) == ["/new"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"status": "404"}, ["/b"]),
        ({"status": "5xx"}, ["/c"]),
        ({"method": "POST"}, ["/d"]),
        ({"path": "ü\"'<"}, ["/ü\"'<x"]),
        ({"path": "/x/"}, ["/x/y"]),
        ({"client": "2001:db8:"}, ["/e"]),
        ({"upstream": "10.9."}, ["/f"]),
        ({"code": "expired"}, ["/g"]),
        ({"request_id": "ff/1:2"}, ["/h"]),
        ({"since": NOW - datetime.timedelta(seconds=2)}, ["/h", "/g"]),
        ({"until": NOW - datetime.timedelta(seconds=8.5)}, ["/x/y", "/a"]),
        ({"since": NOW - datetime.timedelta(seconds=4), "until": NOW - datetime.timedelta(seconds=2)}, ["/f", "/e"]),
        ({"path": "/c", "status": "404"}, []),
        ({"view": "errors"}, ["/g", "", "/c"]),
        ({"view": "errors", "code": "unknown_authority"}, [""]),
        ({"view": "errors", "status": "5xx"}, ["/c"]),
    ],
)
def test_filters(tmp_path: Path, wanted: dict[str, Any], expected: list[str]) -> None:
    """Each alone, and together; of an attempt that failed, nothing is known of what the client sent."""
    write(
        tmp_path,
        answered(10, target="/a"),
        answered(9, target="/x/y"),
        answered(8, target="/b", status=404),
        answered(7, target="/c", status=502, upstream_status=None),
        answered(6, target="/d", method="POST"),
        answered(5, target="/ü\"'<x"),
        answered(4, target="/e", client="2001:db8::7"),
        answered(3, target="/f", upstream="http://10.9.0.1:80"),
        answered(2, target="/g", upstream_failure="expired"),
        answered(1, target="/h", request_id="ff/1:2"),
    )
    write(tmp_path, attempted(6.5), kind="errors")
    assert targets(found(tmp_path, **wanted)) == expected


def test_lines_in_the_combined_format(tmp_path: Path) -> None:
    """With what they say; the format may have changed within a file."""
    write(
        tmp_path,
        answered(9, target="/json"),
        b'192.0.2.9 - - [04/May/2026:11:59:58 +0000] "GET /x\\x22 HTTP/1.1" 404 12 "-" "curl/8"\n',
        b'192.0.2.9 - - [04/May/2026:11:59:58 +0000] "-" 400 12 "-" "-"\n',
    )
    bad, odd, _ = found(tmp_path).entries
    assert (odd.method, odd.target, odd.protocol, odd.status) == ("GET", "/x\\x22", "HTTP/1.1", 404)
    assert (odd.host, odd.client, odd.user_agent, odd.bytes_sent) == ("app.test", "192.0.2.9", "curl/8", 12)
    assert (bad.method, bad.target, bad.status) == ("", "", 400)
    assert targets(found(tmp_path, status="404")) == ["/x\\x22"]


def test_what_is_no_line_is_left_out(tmp_path: Path) -> None:
    """Other people's texts, lines cut off, values of other types: nothing of it raises, the rest is shown."""
    write(
        tmp_path,
        b"\x00\xff not a line\n[]\n{}\nnull\n\n",
        as_line(answered(5, target="/a"))[:100] + b"\n",
        b'{"time":"2026-99-99T00:00:00.000Z"}\n',
        b'{"time":"' + at(4).encode() + b'"' + b"[" * 5000 + b"\n",
        answered(4, target={"not": "text"}, status=True, duration_ms=1e300, host=None, client=7),
        b'{"time":"' + at(3).encode() + b'","target":"' + b"x" * 20_000 + b'"}\n',
        b"1.2.3.4 - - [99/Foo/2026:11:59:58 +0000] what\n",
        answered(2, target="/b"),
        as_line(answered(1, target="/unfinished")).rstrip(),
    )
    first, second = found(tmp_path).entries
    assert first.target == "/b"
    assert (second.target, second.status, second.duration_ms, second.host, second.client) == ("", None, None, "", "")


def big(tmp_path: Path, size: int) -> int:
    """A file of this size with a line each millisecond. How many there are."""
    path, count = write(tmp_path), 0
    line = as_line(answered(0, target="/NUMBER", request_id="a-NUMBER", time="SECOND.MILLISECONDZ"))
    parts = line.replace(b"%", b"%%").replace(b"NUMBER", b"%(n)d").replace(b"SECOND", b"%(s)b", 1)
    parts = parts.replace(b"MILLISECOND", b"%(ms)03d")
    with path.open("wb") as file:
        while file.tell() < size:
            second = at(-count / 1000).partition(".")[0].encode()
            file.write(b"".join(parts % {b"n": count + ms, b"s": second, b"ms": ms} for ms in range(1000)))
            count += 1000
    return count


def test_a_large_file_is_searched_within_the_deadline(tmp_path: Path) -> None:
    """By id through all of it, by time without reading what lies between; a search that finds nothing goes on."""
    count = big(tmp_path, 50 * 1024 * 1024)
    began = time.monotonic()
    (first,) = found(tmp_path, request_id="a-0").entries
    assert first.target == "/0"
    assert time.monotonic() - began < 2.5
    began = time.monotonic()
    middle = NOW + datetime.timedelta(seconds=count / 2000)
    assert found(tmp_path, until=middle, limit=3, max_bytes=2**23).entries[0].target == f"/{count // 2 - 1}"
    assert time.monotonic() - began < 0.5
    began = time.monotonic()
    # Nothing but a look at each line tells.
    page = found(tmp_path, path="nirgends ü", deadline_s=0.2)
    assert time.monotonic() - began < 1
    assert (page.entries, bool(page.cursor)) == ([], True)
    assert page.searched_to is not None
    assert found(tmp_path, path="nirgends ü", deadline_s=0.2, before=page.cursor).cursor < page.cursor


def test_a_hole_of_a_gigabyte(tmp_path: Path) -> None:
    """A file that was cut off under its writer begins with one: what is behind it is found, and the search ends."""
    path = write(tmp_path)
    with path.open("r+b") as file:
        file.truncate(1024**3)
    write(tmp_path, b"\n", *(answered(1000 - number, target=f"/{number}") for number in range(1000)))
    began = time.monotonic()
    assert all_pages(tmp_path, limit=300) == [f"/{number}" for number in reversed(range(1000))]
    assert targets(found(tmp_path, until=NOW - datetime.timedelta(seconds=900), limit=1)) == ["/99"]
    assert time.monotonic() - began < 5


def test_a_thousand_hosts(tmp_path: Path) -> None:
    """The newest lines of all are found without reading every file."""
    for number in range(1000):
        path = write(tmp_path, answered(5000 - number, target=f"/{number}"), host=f"h{number}.test")
        modified = (NOW - datetime.timedelta(seconds=5000 - number)).timestamp()
        os.utime(path, (modified, modified))
    began = time.monotonic()
    assert targets(found(tmp_path, limit=50)) == [f"/{number}" for number in range(999, 949, -1)]
    assert time.monotonic() - began < 0.5


def test_only_a_few_searches_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long is told so."""
    write(tmp_path, answered())
    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(search_module, "_places", places)
    monkeypatch.setattr(search_module, "PATIENCE_S", 0.01)
    with places, pytest.raises(TooManySearches, match="Try again in 5 seconds"):
        found(tmp_path)
    assert len(found(tmp_path).entries) == 1
