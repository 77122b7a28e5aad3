"""Rotations in the HTTP API."""

import base64
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from hosts.models import Host
from hosts.rotation.models import Rotation
from localca.models import IssuedCertificate
from tests.hosts.rotation.examples import NEW, OLD, in_use, next_step, plain_host, staged
from tests.support.pkcs12_files import SECRET, pkcs12_of
from tests.support.roles import user_of
from tests.support.tokens import bearer, token_of

pytestmark = pytest.mark.django_db

PAIR = {"client_certificate": NEW.chain_pem, "client_key": NEW.key_pem}


@pytest.fixture
def api() -> Any:
    """Asks as an administrator, or in another role."""
    headers: dict[str, dict[str, str]] = {}

    def ask(method: str, path: str, document: Any = None, *, role: str = "administrator") -> Any:
        if role not in headers:
            headers[role] = bearer(token_of(user_of(role)))
        options: dict[str, Any] = {} if document is None else {"data": document, "content_type": "application/json"}
        response = getattr(Client(), method.lower())(f"/api/v1/{path}", headers=headers[role], **options)
        assert b"PRIVATE KEY" not in response.content
        return response

    return ask


def code_of(response: Any) -> str:
    code: str = response.json()["errors"][0]["code"]
    return code


def test_from_its_upload_to_its_promotion(api: Any) -> None:
    """Staged with 201 and its address; confirmed when it is ready; every step is told."""
    host = plain_host()
    response = api("POST", f"hosts/{host.pk}/rotations", {**PAIR, "manual": True})
    assert response.status_code == 201
    document = response.json()
    assert (document["state"], document["manual"], document["host"]) == ("staged", True, str(host.pk))
    assert document["candidate"][0]["subject"] == "CN=new identity"
    assert document["previous"][0]["subject"] == "CN=old identity"
    path = document["url"].partition("/api/v1/")[2]
    assert response["Location"] == document["url"]
    assert api("POST", f"{path}/confirm").status_code == 409
    next_step(Rotation.objects.get())
    assert api("POST", f"{path}/confirm").json()["state"] == "watching"
    assert in_use(host) == "CN=new identity"
    shown = api("GET", path).json()
    assert [step["state"] for step in shown["steps"]] == ["staged", "probing", "ready", "watching"]
    assert shown["steps"][0]["by"] == "administrator"
    assert code_of(api("POST", f"{path}/cancel")) == "in_use"
    listed = api("GET", f"hosts/{host.pk}/rotations").json()
    assert (listed["count"], listed["results"]) == (1, [shown])


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "client_certificate"),
        ({**PAIR, "issue": True}, "client_certificate"),
        ({"client_pkcs12": "bm90aGluZw==", "issue": True}, "client_pkcs12"),
        ({"client_pkcs12": "bm90aGluZw=="}, "client_pkcs12"),
        ({**PAIR, "client_pkcs12": "bm90aGluZw=="}, "client_pkcs12"),
        ({"client_pkcs12": "*"}, "client_pkcs12"),
        ({**PAIR, "client_key": OLD.key_pem}, "client_key"),
        ({"client_certificate": OLD.chain_pem}, "client_certificate"),
        ({**PAIR, "other": 1}, "other"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(api: Any, document: dict[str, Any], field: str) -> None:
    """And nothing is kept."""
    response = api("POST", f"hosts/{plain_host().pk}/rotations", document)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not Rotation.objects.exists()


def test_a_pkcs12_file_brings_both(api: Any) -> None:
    """As base64, opened by its passphrase, which is of no use without anything to open."""
    host = plain_host()
    document = {"client_pkcs12": base64.b64encode(pkcs12_of(NEW)).decode(), "client_key_passphrase": SECRET}
    response = api("POST", f"hosts/{host.pk}/rotations", {**document, "client_key_passphrase": "another"})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "client_pkcs12")
    response = api("POST", f"hosts/{host.pk}/rotations", {"issue": True, "client_key_passphrase": SECRET})
    assert (response.status_code, code_of(response)) == (400, "without_key")
    shown = api("POST", f"hosts/{host.pk}/rotations", document).json()
    assert (shown["state"], shown["candidate"][0]["subject"]) == ("staged", "CN=new identity")


def test_one_at_a_time(api: Any) -> None:
    """The second gets 409 with the first one's id; a host that is not there 404."""
    path = f"hosts/{plain_host().pk}/rotations"
    rotation = api("POST", path, {**PAIR, "manual": True}).json()
    response = api("POST", path, PAIR)
    assert (response.status_code, code_of(response)) == (409, "rotation_open")
    assert rotation["id"] in response.content.decode()
    assert api("POST", f"hosts/{rotation['id']}/rotations", PAIR).status_code == 404
    assert api("POST", f"rotations/{rotation['id']}/cancel").json()["state"] == "cancelled"
    assert api("POST", path, PAIR).status_code == 201


def test_issuing_takes_the_right_to_issue(api: Any) -> None:
    """Operators rotate to what they upload; viewers look."""
    path = f"hosts/{plain_host().pk}/rotations"
    assert api("POST", path, {"issue": True}, role="operator").status_code == 403
    assert api("POST", path, PAIR, role="viewer").status_code == 403
    assert not IssuedCertificate.objects.exists()
    assert api("POST", path, {"issue": True}).status_code == 201
    assert IssuedCertificate.objects.count() == 1
    assert api("GET", path, role="viewer").status_code == 200


@pytest.mark.parametrize(
    ("rights", "may_look", "may_rotate"),
    [
        ({"view_host", "change_host"}, True, True),
        ({"view_host"}, True, False),
        ({"view_rotation", "add_rotation", "change_rotation"}, False, False),
    ],
)
def test_one_rule_for_pages_and_api(client: Client, rights: set[str], may_look: bool, may_rotate: bool) -> None:
    """The permissions of the host count, whatever else somebody has."""
    rotation = staged(plain_host(), is_manual=True)
    host = rotation.host
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(user)
    headers = bearer(token_of(user))
    pages = [f"/admin/hosts/host/{host.pk}/rotations/", f"/admin/hosts/host/{host.pk}/rotations/{rotation.pk}/"]
    paths = [f"/api/v1/hosts/{host.pk}/rotations", f"/api/v1/rotations/{rotation.pk}"]
    answers = [client.get(page).status_code for page in pages]
    answers += [Client().get(path, headers=headers).status_code for path in paths]
    assert [answer == 200 for answer in answers] == [may_look] * 4
    options: dict[str, Any] = {"content_type": "application/json", "headers": headers}
    taken = [
        client.post(pages[1], {"do": "probe"}).status_code == 302,
        client.post(pages[0], {"client_certificate": ""}).status_code == 200,
        Client().post(f"{paths[1]}/cancel", **options).status_code == 200,
        Client().post(paths[0], PAIR, **options).status_code == 201,
    ]
    assert taken == [may_rotate] * 4


def test_promoting_a_refused_one(api: Any) -> None:
    """For a reason, and only what is refused; probing again is a step too."""
    host = plain_host()
    path = f"rotations/{api('POST', f'hosts/{host.pk}/rotations', PAIR).json()['id']}"
    assert code_of(api("POST", f"{path}/promote", {"override_reason": "it is next"})) == "not_refused"
    Rotation.objects.update(state="refused", due_at=None)
    assert api("POST", f"{path}/promote", {}).status_code == 400
    assert api("POST", f"{path}/promote", {"override_reason": "\x85"}).status_code == 400
    assert api("POST", f"{path}/probe").json()["state"] == "staged"
    probed = {"probed_at": timezone.now(), "probed_version": Host.objects.get().updated_at}
    Rotation.objects.update(state="refused", due_at=None, **probed)
    shown = api("POST", f"{path}/promote", {"override_reason": "it is next"}).json()
    assert (shown["state"], shown["override_reason"]) == ("watching", "it is next")
