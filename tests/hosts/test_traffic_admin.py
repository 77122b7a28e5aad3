"""Traffic in the host editor and the list, as a browser gets them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts.models import CompiledHost, Host, ProxyWorker, UpstreamFailure
from hosts.publish import compile_hosts
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host
from tests.hosts.test_admin import ADD, LIST, editor, form_data, page, sign_in

pytestmark = pytest.mark.django_db


def fail(host: Host, number: int = 0, **values: Any) -> None:
    worker, _ = ProxyWorker.objects.get_or_create(worker_id="edge:1", defaults={"last_seen_at": timezone.now()})
    failure = {
        "phase": "connect",
        "code": "connection_refused",
        "reason": "dial tcp <10.0.0.7>: connection refused",
        "request_id": "a1-42",
        "at": timezone.now(),
        "count": 17,
    }
    UpstreamFailure.objects.create(upstream=host.upstreams.all()[number], worker=worker, **(failure | values))


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        page(client, url)
    return len(captured)


def test_traffic_is_saved_shown_and_published(admin_client: Client, django_capture_on_commit_callbacks: Any) -> None:
    """With the host, in one go."""
    data = form_data(
        load_balancing="ip_hash",
        connect_s="1.5",
        max_body_bytes="10m",
        response_headers="remove Server",
        **{"upstreams-0-weight": "5", "upstreams-0-backup": "on"},
    )
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(ADD, data)
    assert response.status_code == 302, response.content.decode()
    host = Host.objects.get()
    assert not host.access_log
    entry = CompiledHost.objects.get(pk=host.pk).entry_json
    for part in (
        '"load_balancing":"ip_hash"',
        '"connect_s":1.5',
        '"max_body_bytes":10485760',
        '"name":"Server"',
        '"weight":5',
        '"backup":true',
        '"access_log":false',
    ):
        assert part in entry
    text = page(admin_client, editor(host))
    assert re.search(r'<option value="ip_hash" selected', text)
    assert re.search(r'name="connect_s"[^>]*value="1.5"|value="1.5"[^>]*name="connect_s"', text)
    assert "remove Server" in text


def test_what_the_editor_shows_of_a_host_is_what_it_saves(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    """Opening and saving changes nothing: no new generation."""
    host = make_host(timeouts={"connect_s": 1.5}, limits={"max_body_bytes": 1536})
    compile_hosts([host.pk])
    response = admin_client.get(editor(host))
    form = response.context["adminform"].form
    values = {name: "on" if form[name].value() is True else form[name].value() for name in form.fields}
    data = form_data(host, **{name: value for name, value in values.items() if value not in (None, False)})
    with django_capture_on_commit_callbacks(execute=True):
        assert admin_client.post(editor(host), data).status_code == 302
    assert CompiledHost.objects.get(pk=host.pk).generation == 1


@pytest.mark.parametrize(
    ("section", "values"),
    [("Traffic", {"tls_s": "0"}), ("Header rules", {"request_headers": "x"}), ("Advanced upstream TLS", {"crl": "x"})],
)
def test_sections_are_folded_until_something_in_them_is_wrong(
    admin_client: Client, section: str, values: dict[str, str]
) -> None:
    """Also a field that shares its line with another one."""
    folded = re.compile(rf"<details>\s*<summary>(?:(?!</summary>).)*{section}", re.DOTALL)
    assert folded.search(page(admin_client, ADD))
    assert not folded.search(admin_client.post(ADD, form_data(**values)).content.decode())


def test_the_editor_says_what_failed_last(admin_client: Client, client: Client) -> None:
    """Code, reason, cause, fix, request id, count and worker; and who may test is led there."""
    host = make_host(upstreams=(UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="b", port=443)))
    assert "No worker has seen an upstream of this host fail." in page(admin_client, editor(host))
    fail(host)
    fail(host, 1, code="bad_response", at=timezone.now() - timedelta(days=1))
    text = page(admin_client, editor(host))
    for shown in (
        'data-code="connection_refused"',
        "dial tcp &lt;10.0.0.7&gt;: connection refused",
        "Nobody listens at the upstream&#x27;s address and port.",
        "Start the upstream, or correct its address and port.",
        "a1-42",
        "17 since worker edge:1 started",
        "just now</time>",
        "1\xa0day ago</time>",
    ):
        assert shown in text
    assert text.index('data-code="connection_refused"') < text.index('data-code="bad_response"')
    assert 'href="#connection-test"' in text
    sign_in(client, "view_host")
    text = page(client, editor(host))
    assert 'data-code="connection_refused"' in text
    assert 'href="#connection-test"' not in text


def test_the_list_speaks_of_recent_failures_only(admin_client: Client) -> None:
    """A badge; the rest is in the editor."""
    host = make_host()
    fail(host, at=timezone.now() - timedelta(hours=1))
    assert "Upstream failure" not in page(admin_client, LIST)
    UpstreamFailure.objects.update(at=timezone.now())
    assert "Upstream failure" in page(admin_client, LIST)


def test_list_and_editor_cost_the_same_for_any_number_of_failures(admin_client: Client) -> None:
    """No query per host, upstream or failure."""
    upstreams = tuple(UpstreamSpec(address=f"10.0.0.{number}", port=443) for number in range(5))
    host = make_host(upstreams=upstreams)
    fail(host)
    before = queries(admin_client, LIST), queries(admin_client, editor(host))
    for number in range(1, 5):
        fail(host, number)
    other = make_host("other")
    fail(other)
    assert (queries(admin_client, LIST), queries(admin_client, editor(host))) == before
