"""Which lines are wanted."""

from hypothesis import given
from hypothesis import strategies as st

from hosts.logs.entries import entry_of
from hosts.logs.filters import LogFilter
from proxyworker.access_log.lines import failure_line, line_maker
from proxyworker.log_files import LogFileName
from tests.hosts.logs.examples import with_target
from tests.proxyworker.access_log.records import ENDED_S, record

_bytes = st.binary(max_size=30)
_part = st.tuples(st.integers(0, 30), st.integers(0, 30))


@given(sent=_bytes, part=_part)
def test_a_needle_loses_no_line(sent: bytes, part: tuple[int, int]) -> None:
    """Whatever is searched for of what a line says is in its bytes too, or there is no needle."""
    line = line_maker("json")(record(with_target(b"/" + sent), failure_code="expired"), 0.0)
    entry = entry_of(line, file=LogFileName("a", "access", 0), key="", time_ms=0)
    assert entry is not None
    wanted = LogFilter(
        status="2xx",
        method="GET",
        path=entry.target[part[0] : part[1]],
        client=entry.client[: part[0]],
        upstream=entry.upstream[part[0] : part[1]],
        code=entry.code,
        request_id=entry.request_id,
    )
    assert wanted.wants(entry)
    assert all(needle in line for needle in wanted.needles("access"))


@given(reason=st.text('aü"\\\n<\x00', max_size=20))
def test_needles_of_the_error_log(reason: str) -> None:
    """Its code has another name there."""
    line = failure_line((ENDED_S, "h", "https://u:1", "tls", "expired", reason, b"0a"), 0.0)
    entry = entry_of(line, file=LogFileName("a", "errors", 0), key="", time_ms=0)
    wanted = LogFilter(view="errors", code="expired", request_id="0a", upstream="u:1")
    assert entry is not None
    assert wanted.wants(entry)
    assert len(needles := wanted.needles("errors")) == 3
    assert all(needle in line for needle in needles)
