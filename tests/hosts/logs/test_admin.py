"""The pages "Logs", as a browser gets them."""

import html
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hosts.models import Host
from tests.hosts.examples import make_host
from tests.hosts.logs.examples import answered, attempted, write
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db

ALL, REQUEST = "/admin/hosts/host/logs/", "/admin/hosts/host/logs/request/"
# Each would do something, or say something false, if it stood on the page as it is.
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}{% now %}", "\x1b[2J\r\n\u202egpj"]


@pytest.fixture
def directory(tmp_path: Path, settings: Any) -> Path:
    settings.AEGIS_ACCESS_LOG = tmp_path / "access-log"
    return tmp_path / "access-log"


@pytest.fixture
def host() -> Host:
    return make_host(name="app.test")


def page(client: Client, url: str, **query: Any) -> str:
    response = client.get(url, query)
    assert response.status_code == 200, response.content
    return html.unescape(response.content.decode())


def logs_of(host: Host) -> str:
    return reverse("admin:hosts_host_logs", args=[host.pk])


def shown(text: str) -> list[str]:
    """The targets of the lines on a page."""
    return re.findall(r"<b>[A-Z]+</b> (\S+)</span>", text)


def test_the_lines_of_a_host_and_of_all(admin_client: Client, directory: Path, host: Host) -> None:
    """Newest first, with links to the host, the request and the failure's group; in a fixed number of queries."""
    write(directory, answered(9, target="/old"), answered(5, target="/new", status=502, upstream_failure="expired"))
    write(directory, answered(7, target="/gone", host="deleted.test"), host="deleted.test")
    write(directory, answered(6, target="/none", host=None, upstream=None), host="")
    assert shown(page(admin_client, logs_of(host))) == ["/new", "/old"]
    text = page(admin_client, ALL)
    assert shown(text) == ["/new", "/none", "/gone", "/old"]
    inbox = reverse("admin:healthchecks_failuregroup_changelist")
    for part in (
        f'href="{logs_of(host)}">app.test<',
        f'href="{inbox}?host__id__exact={host.pk}&code=expired">expired<',
        f'href="{REQUEST}?request_id=0a0b0c0d00005000"',
        "no host",
        "deleted.test",
    ):
        assert part in text
    assert admin_client.get(inbox, {"host__id__exact": str(host.pk), "code": "expired"}).status_code == 200
    with CaptureQueriesContext(
        connection,
    ) as few:
        page(admin_client, ALL)
    for number in range(10):
        write(directory, answered(4, host=f"h{number}.test"), host=f"h{number}.test")
        make_host(name=f"h{number}.test")
    with CaptureQueriesContext(connection) as many:
        page(admin_client, ALL)
    assert len(many) == len(few)


def test_errors_with_the_failed_attempts(admin_client: Client, directory: Path, host: Host) -> None:
    """Beside the answers that they led to."""
    write(directory, answered(9), answered(5, target="/bad", status=502), answered(4))
    write(directory, attempted(5.1), kind="errors")
    text = page(admin_client, logs_of(host), view="errors")
    assert shown(text) == ["/bad"]
    assert "unable to get local issuer certificate" in text
    assert text.count("data-key=") == 2


def test_pages_and_filters(admin_client: Client, directory: Path, host: Host) -> None:
    """The filter stays from page to page; one that cannot be used is told at its field, and nothing is searched."""
    write(directory, *(answered(500 - n, target=f"/{n}", status=200 + n % 2) for n in range(400)))
    first = page(admin_client, logs_of(host), status="201")
    assert shown(first) == [f"/{n}" for n in range(399, 199, -2)]
    older = re.search(r'href="\?([^"]+)" rel="next"', first)
    assert older is not None
    second = page(admin_client, f"{logs_of(host)}?{older[1]}")
    assert shown(second) == [f"/{n}" for n in range(199, 0, -2)]
    assert "Older lines" not in second
    wrong = page(admin_client, logs_of(host), status="20", since="yesterday")
    assert ("A status such as 502, or a class such as 5xx." in wrong, shown(wrong)) == (True, [])
    assert "Enter a valid date/time." in wrong
    assert "No line matches." not in wrong
    assert shown(page(admin_client, logs_of(host), before="../../etc/passwd", since="2026-05-04T11:58:19")) == ["/399"]


def test_following_gets_what_is_new(admin_client: Client, directory: Path, host: Host) -> None:
    """The table alone, from a little before the newest line on; over a rotation too."""
    path = write(directory, answered(60, target="/old"), answered(10, target="/seen"))
    key = re.findall(r'data-key="([^"]+)"', page(admin_client, logs_of(host)))[0]
    path.rename(f"{path}.1")
    write(directory, answered(11, target="/late"), answered(1, target="/new"))
    text = page(admin_client, logs_of(host), fragment="1", after=key)
    assert shown(text) == ["/new", "/seen", "/late"]
    assert "<html" not in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_strangers_sent_is_text(admin_client: Client, directory: Path, host: Host, hostile: str) -> None:
    """Wherever it stands in a line, on every page, in every filter."""
    said = {name: hostile for name in ("client", "scheme", "method", "target", "protocol", "referer", "user_agent")}
    ours = {name: hostile for name in ("upstream", "upstream_failure")}
    write(directory, answered(5, **said, **ours), answered(4, request_id=hostile, host=hostile))
    write(directory, attempted(3, reason=hostile, phase=hostile, code=hostile, upstream=hostile), kind="errors")
    query = {"view": "errors"}
    for url, values in (
        (ALL, {}),
        (ALL, query),
        (logs_of(host), {"path": hostile, "code": hostile}),
        (ALL, {"fragment": "1"}),
        (REQUEST, {"request_id": "0a0b0c0d00005000"}),
        (REQUEST, {"request_id": hostile}),
    ):
        content = admin_client.get(url, values).content.decode()
        assert "<script>alert" not in content
        assert "<img src=x" not in content
        assert "49" not in re.findall(r"<b>[^<]*</b> ([^<]*)<", content)


def test_a_request_by_its_id(admin_client: Client, directory: Path, host: Host) -> None:
    """Its line, its upstream, and of what failed the cause and the fix."""
    write(directory, answered(9), answered(5, target="/bad", status=502, upstream_status=None), answered(4))
    write(directory, attempted(5), kind="errors")
    text = page(admin_client, REQUEST, request_id="0a0b0c0d00005000")
    for part in (
        'data-lg-answer="502"',
        "<b>GET</b> /bad",
        "https://10.0.0.7:9443, which gave no answer",
        'data-lg-failure="unknown_authority"',
        "unable to get local issuer certificate",
        "Nobody who is trusted here has signed the upstream's certificate.",
        "<dt>Fix</dt>",
        f'href="/admin/hosts/host/{host.pk}/change/#connection-test"',
        f"host__id__exact={host.pk}&code=unknown_authority",
    ):
        assert part in text, part
    assert "Nothing was found of" in page(admin_client, REQUEST, request_id="ffff")
    assert "An id as error answers" in page(admin_client, REQUEST, request_id="no such <id>")


def test_downloads(admin_client: Client, directory: Path, host: Host) -> None:
    """What matches, newest first, as JSON lines or text of one line each; or a whole file, chosen among the host's."""
    path = write(directory, answered(9, target="/a"), answered(5, target="/b\n\x1b", status=502))
    write(directory, answered(1, host="other.test"), host="other.test")
    response = admin_client.get(logs_of(host), {"download": "jsonl", "status": "5xx"})
    assert response["Content-Disposition"] == 'attachment; filename="aegis-log.jsonl"'
    (line,) = b"".join(response.streaming_content).splitlines()  # type: ignore[attr-defined]
    assert (json.loads(line)["target"], json.loads(line)["status"]) == ("/b\n\x1b", 502)
    text = b"".join(admin_client.get(ALL, {"download": "text"}).streaming_content)  # type: ignore[attr-defined]
    assert [line.split(b"\t")[1:6:4] for line in text.splitlines()] == [
        [b"other.test", b"GET /a?b=c"],
        [b"app.test", b"GET /b??"],
        [b"app.test", b"GET /a"],
    ]
    assert 'href="?file=app.test.log"' in page(admin_client, logs_of(host))
    response = admin_client.get(logs_of(host), {"file": "app.test.log"})
    assert response["Content-Disposition"] == 'attachment; filename="aegis-app.test.log"'
    assert b"".join(response.streaming_content) == path.read_bytes()  # type: ignore[attr-defined]
    for other in ("other.test.log", "../access-log/app.test.log", "/etc/passwd", ""):
        assert admin_client.get(logs_of(host), {"file": other}).status_code == 404


def test_only_a_few_at_once(admin_client: Client, directory: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads and searches: who comes too late is told when to come again."""
    write(directory, answered(9))
    monkeypatch.setattr("hosts.logs.downloads._places", threading.BoundedSemaphore(1))
    first = admin_client.get(ALL, {"download": "text"})
    refused = admin_client.get(ALL, {"download": "text"})
    assert (refused.status_code, refused["Retry-After"]) == (429, "10")
    assert b"".join(first.streaming_content)  # type: ignore[attr-defined]
    assert admin_client.get(ALL, {"download": "text"}).status_code == 200
    monkeypatch.setattr("hosts.logs.search._places", threading.Semaphore(0))
    monkeypatch.setattr("hosts.logs.search.PATIENCE_S", 0)
    assert "Many logs are being searched." in page(admin_client, ALL)
    assert admin_client.get(ALL, {"fragment": "1"}).status_code == 429


@pytest.mark.parametrize("value", ["stdout", "off"])
def test_logs_that_are_elsewhere(admin_client: Client, settings: Any, host: Host, value: str) -> None:
    """The page says where, and how to have them here."""
    settings.AEGIS_ACCESS_LOG = value
    for url in (ALL, logs_of(host), REQUEST):
        text = page(admin_client, url)
        assert f'data-lg-nowhere="{value}"' in text
        assert "AEGIS_ACCESS_LOG" in text


def test_a_directory_that_is_not_there_or_cannot_be_read(
    admin_client: Client, directory: Path, host: Host, settings: Any
) -> None:
    """Nothing was logged yet; or it is said why nothing is shown."""
    assert "No line matches." in page(admin_client, ALL)
    directory.write_text("a file")
    assert "The log directory cannot be read: Not a directory." in page(admin_client, ALL)


def test_who_may_see_them(client: Client, directory: Path, host: Host) -> None:
    """Operators and administrators; the permission can be given by itself, to whoever may view hosts."""
    write(directory, answered(1, target="/secret"))
    viewer = user_of("viewer")
    client.force_login(viewer)
    urls = [ALL, logs_of(host), REQUEST, f"{ALL}?download=text", f"{logs_of(host)}?file=app.test.log"]
    assert {client.get(url).status_code for url in urls} == {403}
    change = reverse("admin:hosts_host_change", args=[host.pk])
    assert logs_of(host) not in client.get(change).content.decode()
    viewer.user_permissions.add(Permission.objects.get(content_type__app_label="logs", codename="view_log"))
    client.force_login(User.objects.get(pk=viewer.pk))
    assert {client.get(url).status_code for url in urls} == {200}
    assert logs_of(host) in client.get(change).content.decode()
    client.force_login(user_of("operator"))
    assert {client.get(url).status_code for url in urls} == {200}
