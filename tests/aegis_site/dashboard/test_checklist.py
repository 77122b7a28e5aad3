"""The first steps of an installation."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.urls import reverse

from aegis_site.dashboard.checklist import NEW_FOR, first_steps, put_away
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.notifications.models import Channel, ChannelKind
from tests.aegis_site.dashboard.examples import NOW
from tests.hosts.examples import make_host, mtls
from tests.hosts.expiry.examples import seen
from tests.support.roles import user_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _new_installation() -> None:
    """Its database was made an hour ago."""
    MigrationRecorder.Migration.objects.update(applied=NOW - timedelta(hours=1))


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password="generated")


def undone(user: User) -> list[str]:
    return [step.title for step in first_steps(user, now=NOW) if not step.is_done]


def test_each_step_is_done_by_what_is_there(root: User, client: Client) -> None:
    """Whoever did it, by whatever way; when all are done, the list is gone."""
    titles = undone(root)
    assert titles == [
        "Choose a password of your own",
        "Add a host",
        "Give it a client certificate",
        "Have the upstream trust it",
        "Test the connection",
        "Say who is told when something breaks",
    ]
    root.set_password("correct horse battery")
    root.save()
    assert undone(root) == titles[1:]
    host = make_host()
    assert undone(root) == titles[2:]
    secured = make_host("secured", upstream_tls=mtls())
    assert undone(root) == titles[3:]
    test = seen(host)
    assert test.result is not None
    test.result["tls"]["client_certificate_sent"] = False
    test.save()
    assert undone(root) == [titles[3], titles[5]]
    client.force_login(root)
    for step in first_steps(root, now=NOW):
        assert client.get(step.url).status_code == 200, step.title
    assert str(secured.pk) in next(step.url for step in first_steps(root, now=NOW) if step.title == titles[3])
    test.result["tls"]["client_certificate_sent"] = True
    test.save()
    assert undone(root) == titles[5:]
    Channel.objects.create(name="on call", kind=ChannelKind.MAIL)
    assert first_steps(root, now=NOW) == []


def test_put_away_for_good(admin_client: Client, admin_user: Any) -> None:
    """By a POST; it is noted who did it, and nobody sees them again."""
    assert "First steps" in admin_client.get(reverse("admin:index")).content.decode()
    url = reverse("admin:aegis_first_steps")
    assert admin_client.get(url).status_code == 405
    response = admin_client.post(url, follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    assert "The first steps are put away." in response.content.decode()
    assert 'id="db-steps"' not in response.content.decode()
    entry = AuditEntry.objects.get(action="first_steps_put_away")
    assert (entry.user, entry.target_type) == (admin_user, "settings")


def test_an_old_installation_has_none(root: User) -> None:
    """By then the entry that they are put away may be forgotten, so it is not asked any more."""
    put_away(user=root)
    AuditEntry.objects.all().delete()
    assert first_steps(root, now=NOW)
    assert first_steps(root, now=NOW + NEW_FOR) == []


def test_who_sees_them(client: Client) -> None:
    """Those who can do them: an operator without the channels, a viewer not at all, who cannot put them away either."""
    assert "Say who is told when something breaks" not in undone(user_of("operator"))
    viewer = user_of("viewer")
    assert first_steps(viewer, now=NOW) == []
    client.force_login(viewer)
    assert client.post(reverse("admin:aegis_first_steps")).status_code == 403
    assert not AuditEntry.objects.filter(action="first_steps_put_away").exists()
