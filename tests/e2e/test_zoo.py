"""`manage.py demo --zoo`: each broken upstream is told by its code in the API and in the log, and not to the client."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.instance import Instance
from tests.support.polling import eventually
from upstream_tls.zoo.member import Member
from upstream_tls.zoo.members import members

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

# The others take the whole five seconds; `upstream_tls/zoo` tests them side by side.
QUICK = [member for member in members() if not member.takes_all_time]

# What no client may learn of an upstream (docs/diagnosis.md).
DETAILS = re.compile(rb"x509|tls|ssl|alert|certificate|authority|upstream|127\.0\.0\.1|lookup|dial|reset|refused", re.I)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running demo with its zoo."""
    enough = {"AEGIS_TESTS_PER_MINUTE": "1000"}
    directory = tmp_path_factory.mktemp("zoo")
    with Instance(directory, command="demo", options=("--zoo",), environment=enough) as running:
        yield running


def verdict(zoo: Instance, host_id: str) -> tuple[str, str]:
    """Code and message of Test Connection through the API; empty for a success."""
    answer = zoo.api("POST", f"hosts/{host_id}/test-upstream-tls")
    assert answer.status == 200, answer.body
    error = answer.json["error"]
    return (error["code"], error["message"]) if error else ("", "")


def test_every_member_is_told_by_its_code(zoo: Instance) -> None:
    """By code and message, at least twenty-four of them."""
    ids = {host["name"]: host["id"] for host in zoo.api("GET", "hosts?page_size=500&search=zoo-").json["results"]}
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda member: verdict(zoo, ids[f"zoo-{member.name}"]), QUICK))
    rows = [
        (member.name, member.code, code, member.is_message(message))
        for member, (code, message) in zip(QUICK, verdicts, strict=True)
    ]
    assert len(rows) >= 24
    assert [row for row in rows if row[1] != row[2] or not row[3]] == []


@pytest.mark.parametrize("member", [member for member in QUICK if member.code], ids=lambda member: member.name)
def test_the_client_sees_no_detail_and_the_log_has_the_code(zoo: Instance, member: Member) -> None:
    """502 or 504 with a request id, or what the upstream itself answered in HTTP."""
    name = f"zoo-{member.name}"
    answer = zoo.proxy(f"{name}.localhost")
    marks = [f"host={name} ", f"code={member.code} "]
    if answer.status in (502, 504):
        assert not DETAILS.search(answer.body), answer.body
        assert answer.body.startswith(f"{answer.status} ".encode())
        marks.append(answer.body.split(b"request id: ")[1].strip().decode())
    else:
        assert answer.status in (400, 421), answer.body  # a refusal in the upstream's own words, passed on

    def is_logged() -> bool:
        return any(all(mark in line for mark in marks) for line in zoo.log.splitlines())

    eventually(is_logged, within_s=5)
