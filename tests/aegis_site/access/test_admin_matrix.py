"""Who may open and who may send what in the admin: every address, for everybody.

A page without a line fails the first test. What a page does beyond letting somebody in is tested where the page is.
"""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, URLResolver, reverse
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.notifications.distribution import distribute
from aegis_site.kernel.notifications.models import Delivery, MaintenanceWindow, NotedEvent
from hosts.certificate_requests import request_certificate
from hosts.models import ProxyWorker
from localca.services import ensure_authority, issue_client_certificate
from tests.aegis_site.kernel.notifications.examples import NOW, at
from tests.aegis_site.kernel.notifications.examples import channel as make_channel
from tests.healthchecks.failures.examples import failed
from tests.hosts.examples import OTHER_LEAF, make_host
from tests.hosts.rotation.examples import staged
from tests.support.roles import ROLES, user_of
from tests.support.tokens import token_of
from upstream_tls.certificate_requests import Wish

pytestmark = pytest.mark.django_db

OUTSIDERS = ("anonymous", "not staff")
NO_ROLE, VIEWER, OPERATOR, ADMINISTRATOR = "no role", "viewer", "operator", "administrator"
PEOPLE = (NO_ROLE, VIEWER, OPERATOR, ADMINISTRATOR, "superuser")

STAFF = frozenset(PEOPLE)
VIEW = STAFF - {NO_ROLE}
OPERATE = VIEW - {VIEWER}
ADMINISTER = OPERATE - {OPERATOR}
NOBODY = frozenset[str]()


class Rights(NamedTuple):
    """Of a model: who may do what on its pages."""

    view: frozenset[str]
    add: frozenset[str] = NOBODY
    change: frozenset[str] = NOBODY
    delete: frozenset[str] = NOBODY


MODELS = {
    "auth_user": Rights(*[ADMINISTER] * 4),
    "auth_group": Rights(*[ADMINISTER] * 4),
    "access_apitoken": Rights(view=VIEW, add=VIEW, delete=VIEW),
    "hosts_host": Rights(VIEW, *[OPERATE] * 3),
    "hosts_proxyworker": Rights(VIEW),
    "localca_certificateauthority": Rights(VIEW),
    "localca_issuedcertificate": Rights(VIEW, add=ADMINISTER, delete=ADMINISTER),
    "audit_auditentry": Rights(VIEW),
    "notifications_channel": Rights(*[ADMINISTER] * 4),
    "notifications_delivery": Rights(ADMINISTER),
    "notifications_maintenancewindow": Rights(VIEW, *[OPERATE] * 3),
    "notifications_notedevent": Rights(VIEW),
    "healthchecks_failuregroup": Rights(VIEW, change=OPERATE),
}
# Who may GET, and who may POST. Where there is nothing to send, a POST is as a GET, or 405.
OTHERS = {
    "index": (STAFF, STAFF),
    "search": (STAFF, STAFF),
    "jsi18n": (STAFF, STAFF),
    "app_list": (VIEW, VIEW),
    "password_change": (STAFF, STAFF),
    "password_change_done": (STAFF, STAFF),
    "autocomplete": (NOBODY, STAFF),  # no page of ours asks for it: refused for every field
    "view_on_site": (NOBODY, NOBODY),  # nothing has such an address
    "aegis_settings": (STAFF, ADMINISTER),
    "aegis_two_factor": (STAFF, STAFF),
    "aegis_sessions": (STAFF, STAFF),
    "aegis_all_sessions": (ADMINISTER, ADMINISTER),
    "aegis_sign_in_locks": (ADMINISTER, ADMINISTER),
    "auth_user_reset_second_factor": (ADMINISTER, ADMINISTER),
    "auth_user_unlock": (ADMINISTER, ADMINISTER),
    "aegis_dashboard_live": (STAFF, STAFF),
    "aegis_first_steps": (STAFF, OPERATE),
    "auth_user_password_change": (ADMINISTER, ADMINISTER),
    "localca_trust_bundle": (VIEW, VIEW),
    "localca_ca_certificate": (VIEW, VIEW),
    "localca_certificateauthority_trust_bundle": (VIEW, VIEW),
    "localca_certificateauthority_certificate": (VIEW, VIEW),
    "localca_issuedcertificate_certificate": (VIEW, VIEW),
    "localca_issuedcertificate_chain": (VIEW, VIEW),
    "localca_certificateauthority_revocation_list": (VIEW, VIEW),
    "localca_certificateauthority_new_intermediate": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_new_root": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_import_authority": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_export_key": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_remove_key": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_restore_key": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_crl_place": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_give_list": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_retire": (ADMINISTER, ADMINISTER),
    "localca_certificateauthority_revoke": (ADMINISTER, ADMINISTER),
    "localca_issuedcertificate_renew": (ADMINISTER, ADMINISTER),
    "localca_issuedcertificate_revoke": (ADMINISTER, ADMINISTER),
    "notifications_channel_send_test_message": (ADMINISTER, ADMINISTER),
    "notifications_delivery_retry": (ADMINISTER, ADMINISTER),
    "hosts_host_exchange": (VIEW, OPERATE),
    "hosts_host_clone": (OPERATE, OPERATE),
    "hosts_posture": (VIEW, VIEW),
    "hosts_expiry": (VIEW, VIEW),
    "hosts_logs": (OPERATE, OPERATE),
    "hosts_host_logs": (OPERATE, OPERATE),
    "hosts_request_log": (OPERATE, OPERATE),
    "hosts_what_if": (OPERATE, OPERATE),
    "hosts_revert": (OPERATE, OPERATE),
    "hosts_return": (OPERATE, OPERATE),
    "hosts_host_test_new": (STAFF, OPERATE),
    "hosts_host_test": (STAFF, OPERATE),
    "hosts_connection_tests": (NOBODY, STAFF),  # tests of others are not there
    "hosts_host_set_up_new": (OPERATE, OPERATE),
    "hosts_host_set_up": (OPERATE, OPERATE),
    "hosts_host_set_up_step": (OPERATE, OPERATE),
    "hosts_host_upstream_setup": (VIEW, OPERATE),
    "hosts_host_client_certificate": (VIEW, OPERATE),
    "hosts_certificate_request": (VIEW, OPERATE),
    "hosts_certificate_request_delete": (OPERATE, OPERATE),
    "hosts_host_rotations": (VIEW, OPERATE),
    "hosts_rotation": (VIEW, OPERATE),
    "hosts_host_health": (VIEW, VIEW),
}
# They are for strangers, and end a session.
WITHOUT_SESSION = {"login", "logout", "aegis_sign_in_code"}


def names_in(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from names_in(entry.url_patterns)
        elif entry.name:
            yield entry.name


def expected() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    pages = dict(OTHERS)
    for label, rights in MODELS.items():
        pages[f"{label}_changelist"] = pages[f"{label}_history"] = (rights.view, rights.view)
        pages[f"{label}_add"] = (rights.add, rights.add)
        pages[f"{label}_change"] = (rights.view, rights.change)
        pages[f"{label}_delete"] = (rights.delete, rights.delete)
    return pages


EXPECTED = expected()
NAMES = sorted(set(names_in(admin.site.urls[0])) - WITHOUT_SESSION)


def test_every_page_is_in_the_table() -> None:
    """Whoever adds one says who may use it."""
    assert [name for name in NAMES if name not in EXPECTED] == []
    assert len(NAMES) > 40


@pytest.fixture
def people() -> dict[str, User]:
    users = {
        NO_ROLE: User.objects.create_user("nobody", is_staff=True),
        "not staff": User.objects.create_user("script"),
    }
    users |= {role: user_of(role) for role in ROLES}
    users["superuser"] = User.objects.create_superuser("root")
    return users


@pytest.fixture
def address(people: dict[str, User]) -> Any:
    """The address of a page, with something that is there."""
    authority = ensure_authority()
    host = make_host()
    things: dict[str, Any] = {
        "auth_user": people[VIEWER],
        "auth_group": Group.objects.create(name="auditors"),
        "hosts_host": host,
        "hosts_proxyworker": ProxyWorker.objects.create(
            worker_id="a", generation=1, accepted=1, rejected={}, version="1", pid=1, last_seen_at=timezone.now()
        ),
        "healthchecks_failuregroup": failed(host),
        "localca_certificateauthority": authority,
        "localca_issuedcertificate": issue_client_certificate(common_name="x").record,
    }
    waiting = request_certificate(host=host, wish=Wish(common_name="orders"), user=None)
    channel = make_channel()
    distribute(now=timezone.now())
    things |= {
        "notifications_channel": channel,
        "notifications_delivery": Delivery.objects.get(),
        "notifications_notedevent": NotedEvent.objects.get(),  # of the failure above
        "notifications_maintenancewindow": MaintenanceWindow.objects.create(
            name="move", begins_at=NOW, ends_at=at(hours=1), whole_site=True
        ),
    }
    tokens = {person: token_of(user) for person, user in people.items()}
    rotation = staged(host, OTHER_LEAF, is_manual=True)
    things["audit_auditentry"] = AuditEntry.objects.earliest("pk")

    def address(name: str, person: str) -> str:
        mine = things | {"access_apitoken": tokens.get(person, tokens[NO_ROLE])}
        thing = next((thing for label, thing in mine.items() if name.startswith(f"{label}_")), None)
        if name == "hosts_revert":
            return reverse("admin:hosts_revert", args=[AuditEntry.objects.earliest("pk").pk])
        if name.startswith("hosts_certificate_request"):
            return reverse(f"admin:{name}", args=[host.pk, waiting.pk])
        if name == "hosts_rotation":
            return reverse("admin:hosts_rotation", args=[host.pk, rotation.pk])
        if name == "hosts_host_set_up_step":
            return reverse("admin:hosts_host_set_up_step", args=[host.pk, "live"])
        for arguments in ([], [getattr(thing, "pk", "1")], [host.pk], [uuid.UUID(int=1)], ["hosts"], ["1", "1"]):
            with suppress(NoReverseMatch):
                return reverse(f"admin:{name}", args=arguments)
        raise AssertionError(f"nothing leads to {name}")

    return address


def is_refused(response: Any) -> bool:
    return response.status_code in {403, 404}


@pytest.mark.parametrize("person", [*PEOPLE[:-1], pytest.param(PEOPLE[-1], marks=pytest.mark.soak)])
def test_everybody_gets_what_the_table_says(client: Client, people: dict[str, User], address: Any, person: str) -> None:
    """Refused is 403, or 404 where even being there is not told; a page that is not refused does not fail."""
    client.force_login(people[person])
    wrong = []
    for name in NAMES:
        may_get, may_post = EXPECTED[name]
        url = address(name, person)
        for response, allowed in ((client.get(url), may_get), (client.post(url), may_post)):
            login = response.get("Location", "").startswith("/admin/login/")
            if is_refused(response) == (person in allowed) or login or response.status_code >= 500:
                wrong.append((name, response.request["REQUEST_METHOD"], response.status_code))
    assert wrong == []


def test_looking_changes_nothing(client: Client, people: dict[str, User], address: Any) -> None:
    """A GET of any page by who may do everything writes no row."""
    client.force_login(people["superuser"])
    urls = [address(name, "superuser") for name in NAMES]
    with CaptureQueriesContext(connection) as queries:
        for url in urls:
            client.get(url)
    written = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE", "REPLACE"))]
    assert written == []


def test_sending_needs_the_token(people: dict[str, User], address: Any) -> None:
    """No page takes a POST that a form of another site could have sent."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["superuser"])
    assert [name for name in NAMES if client.post(address(name, "superuser")).status_code != 403] == []


@pytest.mark.parametrize("person", OUTSIDERS)
def test_outsiders_are_sent_to_the_sign_in(client: Client, people: dict[str, User], address: Any, person: str) -> None:
    """Whoever is not signed in, or not staff, sees no page, whatever it is."""
    if person in people:
        client.force_login(people[person])
    for name in NAMES:
        for response in (client.get(address(name, person)), client.post(address(name, person))):
            assert response.status_code == 302, name
            assert response["Location"].startswith("/admin/login/?next=/admin/"), name


def test_an_unknown_page_tells_strangers_nothing(client: Client) -> None:
    """They are sent to the sign-in, as for a page that exists."""
    assert client.get("/admin/nothing/").status_code == 302
