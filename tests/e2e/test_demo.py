"""`manage.py demo`: what it prints works as printed."""

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.instance import Instance
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

SECOND_START_WITHIN_S = 15.0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running demo."""
    with Instance(tmp_path_factory.mktemp("demo"), command="demo", is_new=True) as running:
        yield running


def printed_commands(demo: Instance) -> list[str]:
    """The curl lines, as a person would copy them."""
    return re.findall(r"^ +(curl .+)$", demo.log, re.MULTILINE)


def run(command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, check=False)


def test_the_first_line_answers_200_with_the_subject_that_the_upstream_saw(demo: Instance) -> None:
    """Through the proxy, which presents the certificate that the local CA issued."""
    result = run(printed_commands(demo)[0])
    assert result.returncode == 0
    assert result.stdout.startswith("HTTP/1.1 200 OK")
    assert '"subject": "CN=demo.localhost"' in result.stdout
    assert '"issuer": "CN=Aegis Local CA ' in result.stdout


def test_the_second_line_is_refused_for_want_of_a_certificate(demo: Instance) -> None:
    """Straight at the upstream, whose certificate curl verifies."""
    result = run(printed_commands(demo)[1])
    assert result.returncode != 0
    assert result.stdout == ""
    assert "certificate required" in result.stderr


def test_the_ready_line_comes_last(demo: Instance) -> None:
    """Whoever waits for it finds both commands above it."""
    before, ready, _ = demo.log.partition("\nDemo is ready")
    assert ready
    assert len(re.findall(r"^ +curl ", before, re.MULTILINE)) == 2


def test_a_second_start_reuses_everything_and_is_quick(demo: Instance) -> None:
    """The same host, certificates and upstream address, ready within fifteen seconds."""
    commands = printed_commands(demo)
    files = {path: path.read_bytes() for path in (demo.data_dir / "demo").iterdir()}
    answer = demo.api("GET", "hosts")
    demo.stop()
    before = time.monotonic()
    demo.start()
    demo.wait_until_said("\nDemo is ready", within_s=SECOND_START_WITHIN_S)
    assert time.monotonic() - before < SECOND_START_WITHIN_S
    assert printed_commands(demo) == commands
    assert {path: path.read_bytes() for path in (demo.data_dir / "demo").iterdir()} == files
    assert demo.api("GET", "hosts").json == answer.json
    assert '"subject": "CN=demo.localhost"' in run(commands[0]).stdout


@pytest.mark.soak
def test_the_upstream_listens_where_it_is_told_to(demo: Instance) -> None:
    """AEGIS_DEMO_UPSTREAM moves it, and the host follows."""
    address = f"127.0.0.1:{free_port()}"
    demo.stop()
    demo.variables["AEGIS_DEMO_UPSTREAM"] = address
    with demo:
        through_proxy, direct = printed_commands(demo)
        assert direct.endswith(f"https://{address}/")
        assert run(through_proxy).stdout.startswith("HTTP/1.1 200 OK")
