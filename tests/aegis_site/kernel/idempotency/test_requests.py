"""Idempotency-Key through the API."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.idempotency.models import KeptAnswer
from hosts.models import Host
from localca.models import IssuedCertificate
from localca.services import ensure_authority

pytestmark = pytest.mark.django_db

URL = "/api/v1/hosts"
DOCUMENT = {"name": "orders", "domains": ["orders.example.com"]}


def post(client: Client, document: Any = None, url: str = URL, key: str = "key-1", **headers: str) -> Any:
    body = json.dumps(DOCUMENT if document is None else document)
    headers = {"Idempotency-Key": key, **headers}
    return client.post(url, body, content_type="application/json", headers=headers)


def code_of(response: Any, status: int) -> str:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    return str(response.json()["errors"][0]["code"])


def test_a_repeated_post_is_done_once(admin_client: Client) -> None:
    """The second answer is the first one, byte by byte, with its fields, and says so."""
    first, second = post(admin_client), post(admin_client)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    for name in ("Location", "ETag", "Content-Type"):
        assert second[name] == first[name]
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert Host.objects.count() == 1


def test_another_request_with_the_key_is_refused(admin_client: Client) -> None:
    """Another body or another path: 422."""
    post(admin_client)
    assert code_of(post(admin_client, {"name": "other"}), 422) == "idempotency_key_reused"
    path = f"{URL}/{Host.objects.get().pk}/test-upstream-tls"
    assert code_of(post(admin_client, url=path), 422) == "idempotency_key_reused"


def test_a_refusal_is_repeated(admin_client: Client) -> None:
    """Whatever became of the first request, a repetition does nothing else."""
    first = post(admin_client, {"name": ""})
    assert first.status_code == 400
    second = post(admin_client, {"name": ""})
    assert (second.status_code, second.content) == (400, first.content)
    assert second["Content-Type"] == "application/problem+json"


def test_a_running_request(admin_client: Client) -> None:
    """409 while the first one has no answer."""
    post(admin_client)
    KeptAnswer.objects.update(status=None)
    assert code_of(post(admin_client), 409) == "idempotency_in_progress"


def test_a_failure_is_not_kept(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 500 the same request is done."""

    def fail(**_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("hosts.api.views.create_host", fail)
        assert post(admin_client).status_code == 500
    assert not KeptAnswer.objects.exists()
    assert post(admin_client).status_code == 201


def test_who_may_not_gets_no_key(client: Client) -> None:
    """Neither strangers nor users without the permission leave a row."""
    assert post(client).status_code == 401
    client.force_login(User.objects.create_user("nobody"))
    assert post(client).status_code == 403
    assert not KeptAnswer.objects.exists()


def test_bad_keys_and_forms(admin_client: Client) -> None:
    """A key that is none is 400 at its field; a form is not JSON, key or not."""
    response = post(admin_client, key="a b")
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert code_of(response, 400) == "invalid"
    form = Client(enforce_csrf_checks=True)
    form.force_login(User.objects.get(username="admin"))
    assert admin_client.post(URL, {"name": "x"}, headers={"Idempotency-Key": "b"}).status_code == 415
    assert form.post(URL, {"name": "x"}, headers={"Idempotency-Key": "c"}).status_code == 403


def test_an_answer_that_does_not_open(admin_client: Client) -> None:
    """503 with the reason, as for any secret; the request is not done again."""
    post(admin_client)
    KeptAnswer.objects.update(body=Sealed.of("another's").sealed_for(b"elsewhere").blob)
    assert post(admin_client).status_code == 503
    assert Host.objects.count() == 1


def test_other_methods_take_no_key(admin_client: Client) -> None:
    """PUT and DELETE are idempotent as they are."""
    url = post(admin_client).json()["url"]
    assert admin_client.delete(url, headers={"Idempotency-Key": "z"}).status_code == 204
    assert not KeptAnswer.objects.filter(key="z").exists()


def test_an_answer_that_holds_a_key_is_not_kept(admin_client: Client) -> None:
    """Not even sealed: the repetition is told that the certificate was issued, and issues none."""
    ensure_authority()
    order = {"purpose": "client", "common_name": "orders", "include_private_key": True}
    first = post(admin_client, order, "/api/v1/certificates")
    assert (first.status_code, first["Cache-Control"]) == (201, "no-store")
    kept = KeptAnswer.objects.get()
    assert (kept.status, kept.is_dropped, kept.body) == (201, True, None)
    again = post(admin_client, order, "/api/v1/certificates")
    assert code_of(again, 409) == "idempotency_answer_not_kept"
    assert "status 201" in again.json()["detail"]
    assert IssuedCertificate.objects.count() == 1


def test_a_stream_is_not_kept(admin_client: Client) -> None:
    """It is sent as it comes; the repetition gets 409 and does nothing."""
    document = {"aegis_export": 1, "hosts": [DOCUMENT]}
    url = f"{URL}/import"
    first = post(admin_client, document, url, Accept="application/x-ndjson")
    assert b"".join(first.streaming_content).count(b"created") == 2
    Host.objects.all().delete()
    again = post(admin_client, document, url, Accept="application/x-ndjson")
    assert code_of(again, 409) == "idempotency_answer_not_kept"
    assert not Host.objects.exists()
