"""The page that reverts an entry, as a browser gets it."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import Host
from tests.hosts.examples import OTHER_LEAF, make_host, mtls
from tests.hosts.test_revert_plan import change
from tests.support.roles import user_of
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db


def address(entry: AuditEntry) -> str:
    return reverse("admin:hosts_revert", args=[entry.pk])


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return html.unescape(response.content.decode())


def version_in(page: str) -> str:
    found = re.search(r'name="version" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_shown_and_reverted(admin_client: Client) -> None:
    """The differences first; the button leads back to the host."""
    host = make_host(upstream_tls=mtls())
    values = {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    entry = change(host, enabled=False, upstream_tls=UpstreamTLSChanges(**values))
    page = text_of(admin_client.get(address(entry)))
    assert "What stays as it is" in page
    assert "The private key was changed with it" in page
    done = admin_client.post(address(entry), {"version": version_in(page)}, follow=True)
    assert "Reverted: orders." in text_of(done)
    assert done.redirect_chain[-1][0] == reverse("admin:hosts_host_change", args=[host.pk])
    assert Host.objects.get().enabled


def test_the_history_leads_to_it(admin_client: Client, client: Client) -> None:
    """From each change, for who may change the host."""
    host = make_host()
    created, entry = AuditEntry.objects.get(target_type="host"), change(host, enabled=False)
    history = reverse("admin:hosts_host_history", args=[host.pk])
    page = text_of(admin_client.get(history))
    assert address(entry) in page
    assert address(created) not in page
    client.force_login(user_of("viewer"))
    assert address(entry) not in text_of(client.get(history))


def test_what_was_not_seen_is_not_reverted(admin_client: Client) -> None:
    """Without a version, with a broken one, or with that of before another change."""
    host = make_host()
    entry = change(host, enabled=False)
    old = version_in(text_of(admin_client.get(address(entry))))
    change(host, name="renamed")
    for version in ("", "2026-99-99T00:00:00Z", old):
        page = text_of(admin_client.post(address(entry), {"version": version}))
        assert "Look at the differences" in page
    assert not Host.objects.get().enabled


def test_what_is_not_valid_any_more(admin_client: Client) -> None:
    """Is said by field."""
    host = make_host(upstream_tls=mtls())
    entry = change(host, upstream_tls=UpstreamTLSChanges(enabled=False))
    change(host, upstream_tls=UpstreamTLSChanges(client_certificate="", client_key=""))
    page = text_of(admin_client.get(address(entry)))
    page = text_of(admin_client.post(address(entry), {"version": version_in(page)}))
    assert "upstream_tls.client_key: Enable mTLS needs the client certificate's private key." in page


def test_conflicts_and_refusals(admin_client: Client) -> None:
    """Have no button."""
    host = make_host()
    created = AuditEntry.objects.latest("pk")
    entry = change(host, enabled=False)
    change(host, enabled=True)
    assert "Only a change of a host can be reverted" in text_of(admin_client.get(address(created)))
    page = text_of(admin_client.get(address(entry)))
    assert "Conflict" in page
    assert 'name="version"' not in page
    assert admin_client.get("/admin/hosts/host/revert/99999999999999999999/").status_code == 404


def test_it_takes_both_rights(client: Client) -> None:
    """To change hosts, and to read the audit log."""
    entry = change(make_host(), enabled=False)
    user = User.objects.create_user("kim", is_staff=True)
    client.force_login(user)
    for name in ("view_host", "change_host"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    assert client.get(address(entry)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    assert client.get(address(entry)).status_code == 200


def test_a_host_is_put_back_as_of_a_time(admin_client: Client) -> None:
    """The history leads there, from each of its entries; differences first, then the button."""
    host = make_host()
    created = AuditEntry.objects.get(target_type="host")
    change(host, enabled=False)
    change(host, websockets=False)
    back = reverse("admin:hosts_return", args=[host.pk])
    link = f"{back}?{urlencode({'to': created.at.isoformat()})}"
    assert link in text_of(admin_client.get(reverse("admin:hosts_host_history", args=[host.pk])))
    page = text_of(admin_client.get(link))
    done = admin_client.post(link, {"version": version_in(page)}, follow=True)
    assert "Reverted: orders." in text_of(done)
    host.refresh_from_db()
    assert (host.enabled, host.websockets) == (True, True)


@pytest.mark.parametrize(
    ("to", "said"), [("", "This is no time"), ("2026-99-99T00:00", "no time"), ("2001-01-01T00:00", "was made at")]
)
def test_times_that_are_none(to: str, said: str, admin_client: Client) -> None:
    """Or before the host was made: said, with nothing to press."""
    page = text_of(admin_client.get(reverse("admin:hosts_return", args=[make_host().pk]), {"to": to}))
    assert said in page
    assert 'name="version"' not in page
