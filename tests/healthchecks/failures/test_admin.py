"""The failure inbox as a browser gets it."""

import html
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.failures.models import FailureGroup
from hosts.services import update_host
from hosts.specs import HostSpec
from tests.healthchecks.examples import NOW
from tests.healthchecks.failures.examples import CODE, failed
from tests.hosts.examples import make_host
from tests.support.roles import user_of
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db

LIST = "/admin/healthchecks/failuregroup/"


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return html.unescape(response.content.decode())


def page_of(group: FailureGroup) -> str:
    return reverse("admin:healthchecks_failuregroup_change", args=[group.pk])


def test_the_list_and_its_badge(admin_client: Client) -> None:
    """Groups with host, upstream and counts; the navigation says how many are open."""
    host = make_host()
    failed(host, count=41)
    failed(host, code="timeout")
    FailureGroup.objects.filter(code="timeout").update(state="resolved")
    page = text_of(admin_client.get(LIST))
    for text in (CODE, "timeout", "https://10.0.0.7:9443", "41", "Open", "Resolved"):
        assert text in page
    assert text_of(admin_client.get(LIST, {"source": "check"})).count("https://10.0.0.7:9443") == 0
    narrowed = text_of(
        admin_client.get(LIST, {"state__exact": "open", "source": "traffic", "host__id__exact": host.pk})
    )
    assert narrowed.count("https://10.0.0.7:9443") == 1
    badge = page.split("Failures", 1)[1].split("</a>", 1)[0]
    assert " ".join(badge.split("</span>")[1].split()).endswith("1")


def test_the_list_costs_the_same_for_any_number(admin_client: Client) -> None:
    """Of groups."""
    host = make_host()
    failed(host)
    admin_client.get(LIST)
    counts = []
    for code in ("timeout", "expired"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            admin_client.get(LIST)
        counts.append(len(queries))
        failed(host, code=code)
    assert counts[0] == counts[1]


def test_a_group_has_cause_fix_and_what_was_changed(admin_client: Client) -> None:
    """With a way to the host, to its test, and to a revert of the change; strangers' texts are escaped."""
    host = make_host()
    changes = UpstreamTLSChanges(server_name="wrong.internal")
    update_host(host=host, spec=HostSpec(upstream_tls=changes), user=User.objects.create_user("kim"))
    entry = AuditEntry.objects.latest("pk")
    group = failed(host, at=entry.at, message="<script>x</script>", request_id="a1-42")
    response = admin_client.get(page_of(group))
    assert b"<script>x" not in response.content
    page = text_of(response)
    for text in ("The upstream does not know the CA that issued our client certificate.", "a1-42", "wrong.internal"):
        assert text in page
    editor = reverse("admin:hosts_host_change", args=[host.pk])
    for link in (
        f"{editor}#id_tls_enabled",
        f"{editor}#connection-test",
        reverse("admin:hosts_revert", args=[entry.pk]),
    ):
        assert f'href="{link}"' in page
    assert "kim" in page


def test_nothing_was_changed(admin_client: Client) -> None:
    """Which is said."""
    host = make_host()
    AuditEntry.objects.all().delete()
    page = text_of(admin_client.get(page_of(failed(host))))
    assert "Nothing of this host, the local CA or the settings was changed in the 30 minutes before" in page


@pytest.mark.parametrize(
    ("do", "state", "is_muted"),
    [("acknowledge", "acknowledged", False), ("resolve", "resolved", False), ("mute", "open", True)],
)
def test_buttons_say_how_it_stands(client: Client, do: str, state: str, is_muted: bool) -> None:
    """For an operator, by POST; the list does the same with several."""
    client.force_login(user_of("operator"))
    group = failed(make_host())
    assert client.post(page_of(group), {"do": do}).status_code == 302
    group.refresh_from_db()
    assert (group.state, group.muted_until is not None) == (state, is_muted)
    other = failed(make_host("other"))
    client.post(LIST, {"action": f"{do}_selected", "_selected_action": [other.pk]})
    other.refresh_from_db()
    assert (other.state, other.muted_until is not None) == (state, is_muted)


def test_unmuted_again(admin_client: Client) -> None:
    """And a button that there is not changes nothing."""
    group = failed(make_host())
    admin_client.post(page_of(group), {"do": "mute"})
    assert "Unmute" in text_of(admin_client.get(page_of(group)))
    admin_client.post(page_of(group), {"do": "unmute"})
    assert "Nothing was chosen." in text_of(admin_client.post(page_of(group), {"do": "explode"}, follow=True))
    assert FailureGroup.objects.get().muted_until is None


def test_a_viewer_only_looks(client: Client) -> None:
    """No buttons, no revert, and a POST is refused."""
    client.force_login(user_of("viewer"))
    host = make_host()
    group = failed(host, at=NOW)
    page = text_of(client.get(page_of(group)))
    assert "Acknowledge" not in page
    assert "Revert" not in page
    assert client.post(page_of(group), {"do": "resolve"}).status_code == 403
    client.post(LIST, {"action": "resolve_selected", "_selected_action": [group.pk]})  # there is no such action
    assert FailureGroup.objects.get().state == "open"


def test_the_host_leads_to_its_failures(admin_client: Client) -> None:
    """Where its last failures are shown."""
    from tests.hosts.test_upstream_failures import failure, record

    host = make_host()
    record(failure(host))
    page = text_of(admin_client.get(reverse("admin:hosts_host_change", args=[host.pk])))
    assert f"{LIST}?host__id__exact={host.pk}" in page
