"""The lines of docs/api.md do what the page says: run by bash and curl against a server on loopback.

A section stands for itself: it gets a world of its own, with `API`, `AUTH` and `JSON` set as the page has it, an
administrator's token, the local CA, and the files `orders.crt`, `orders.key` and `upstream-ca.crt`. Its bash blocks are
run in one directory by one shell. `# 201` is the status of the curl line before it. A json block after a bash block is
compared with what that block printed last: an object by the keys that are shown, a list by items that must be in it.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django.live_server_helper import LiveServer

from aegis_site.api_document import api_document
from aegis_site.environment import BASE_DIR
from localca.services import ensure_authority
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.tokens import token_of

PAGE = (BASE_DIR / "docs" / "api.md").read_text()
# Where the page's upstream and mail server would be; here nobody listens.
PORTS = ("9443", "2525")
MARK = "--- end of block ---"
# Takes the status to the other stream, so that bodies can be piped and kept as the page does it.
WRAPPER = r"""
set -o pipefail
curl() { command curl --silent --show-error --max-time 30 --write-out '%{stderr}STATUS %{http_code}\n' "$@"; }
"""

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not (shutil.which("curl") and shutil.which("jq")) and os.environ.get("CI") != "true",
        reason="curl or jq is not installed",
    ),
]


@dataclass
class Block:
    """Lines to run, the statuses they get, and what the last answer shows."""

    lines: str
    shown: Any = None

    @property
    def statuses(self) -> list[str]:
        return re.findall(r"^# ([1-5][0-9]{2})\b", self.lines, re.MULTILINE)

    @property
    def requests(self) -> int:
        return len(re.findall(r"(?:^|[|(]) *curl ", self.lines, re.MULTILINE))


@dataclass
class Section:
    title: str
    blocks: list[Block] = field(default_factory=list)


def sections() -> list[Section]:
    found = []
    for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        section = Section(text.partition("\n")[0])
        for language, content in re.findall(r"^```(bash|json)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if language == "bash":
                section.blocks.append(Block(content))
            else:
                section.blocks[-1].shown = json.loads(content)
        if section.blocks:
            found.append(section)
    return found


SECTIONS = sections()


def assert_shown(shown: Any, answer: Any, path: str = "") -> None:
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert isinstance(answer, dict), path
            assert name in answer, f"{path}.{name}"
            assert_shown(value, answer[name], f"{path}.{name}")
    elif isinstance(shown, list) and shown:
        assert isinstance(answer, list), path
        for index, item in enumerate(shown):
            assert any(_is_shown(item, candidate) for candidate in answer), (f"{path}[{index}]", answer)
    else:
        assert shown in ("…", answer), (path, shown, answer)


def _is_shown(item: Any, candidate: Any) -> bool:
    try:
        assert_shown(item, candidate)
    except AssertionError:
        return False
    return True


@pytest.fixture
def environment(tmp_path: Path, live_server: LiveServer) -> dict[str, str]:
    ensure_authority()
    authority = Authority("Orders CA")
    leaf = authority.client("orders")
    for name, text in {
        "orders.crt": leaf.chain_pem,
        "orders.key": leaf.key_pem,
        "upstream-ca.crt": authority.pem,
    }.items():
        (tmp_path / name).write_text(text)
    token = token_of(User.objects.create_superuser("admin")).secret
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TOKEN": token,
        "API": f"{live_server.url}/api/v1",
        "AUTH": f"Authorization: Token {token}",
        "JSON": "Content-Type: application/json",
    }


@pytest.mark.parametrize("section", [pytest.param(section, id=section.title) for section in SECTIONS])
def test_the_lines_do_what_the_page_says(section: Section, environment: dict[str, str], tmp_path: Path) -> None:
    """Every status, and every field that is shown."""
    ports = {port: str(free_port()) for port in PORTS}
    script = WRAPPER + f"\necho '{MARK}'\n".join(block.lines for block in section.blocks)
    ran = subprocess.run(
        ["bash", "-c", _replaced(script, ports)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    statuses = [line.removeprefix("STATUS ") for line in ran.stderr.splitlines() if line.startswith("STATUS ")]
    assert statuses == [status for block in section.blocks for status in block.statuses], ran.stderr + ran.stdout
    for block, printed in zip(section.blocks, ran.stdout.split(MARK), strict=True):
        if block.shown is not None:
            document = last_document(_replaced(printed, {free: port for port, free in ports.items()}))
            assert_shown(block.shown, document)


def last_document(printed: str) -> Any:
    """The last JSON object of what a block printed, among other lines."""
    found, end = None, 0
    while (start := printed.find("{", end)) >= 0:
        found, end = json.JSONDecoder().raw_decode(printed, start)
    return found


def _replaced(text: str, ports: dict[str, str]) -> str:
    return re.sub("|".join(rf"\b{port}\b" for port in ports), lambda match: ports[match[0]], text)


@pytest.mark.parametrize("section", [pytest.param(section, id=section.title) for section in SECTIONS])
def test_every_request_says_what_it_gets(section: Section) -> None:
    """A line without its status would be run and not looked at."""
    for block in section.blocks:
        assert block.requests == len(block.statuses) > 0, block.lines


def test_every_field_of_an_order_has_its_row() -> None:
    """The table of `POST /certificates` has the fields of the OpenAPI document."""
    rows = PAGE.partition("| field of `POST /certificates` |")[2].partition("\n\n")[0]
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", rows, re.MULTILINE))))
    assert described == set(api_document()["components"]["schemas"]["CertificateOrderRequest"]["properties"])


def test_what_is_shown_is_compared() -> None:
    """Keys, items and values that are not in an answer are noticed."""
    answer = {"a": [1, {"b": 2, "c": 3}], "d": "x"}
    for shown in ({"a": [{"b": 2}]}, {"d": "…"}, {"a": [1]}):
        assert_shown(shown, answer)
    for wrong in ({"e": 1}, {"a": [{"b": 3}]}, {"d": "y"}, {"a": []}):
        with pytest.raises(AssertionError):
            assert_shown(wrong, answer)
