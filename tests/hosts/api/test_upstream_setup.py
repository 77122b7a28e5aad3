"""The upstream's half of a host, over HTTP."""

import datetime
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.support.certificates import Authority
from tests.support.nginx import Nginx

pytestmark = pytest.mark.django_db

SERVER_CA = Authority("Upstream CA")
SERVER = SERVER_CA.server("backend.internal")


def signed_in(*codenames: str) -> APIClient:
    user = User.objects.create_user(f"user-{uuid.uuid4().hex[:8]}")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = APIClient()
    client.force_authenticate(user)
    return client


def url(host: Host, name: str) -> str:
    return f"/api/v1/hosts/{host.pk}/{name}"


def codes(response: Any) -> list[str]:
    return [error["code"] for error in response.json()["errors"]]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_setup_of_a_host(slash: str) -> None:
    """Facts, files and snippets; nothing secret. Viewers may read it."""
    response = signed_in("view_host").get(url(make_host(upstream_tls=mtls()), "upstream-setup") + slash)
    document = response.json()
    assert response.status_code == 200
    assert document["client_certificate_info"]["subject"] == "CN=orders client"
    assert [file["file_name"] for file in document["files"]] == ["orders-client-ca.crt", "orders-client.crt"]
    assert {"server", "title", "file_name", "text", "pinned_by"} == set(document["snippets"][0])
    assert "PRIVATE KEY" not in response.content.decode()
    assert LEAF.key_pem.splitlines()[1] not in response.content.decode()


def test_a_host_without_certificate_is_a_conflict() -> None:
    """There is nothing to require, and the answer says so."""
    response = signed_in("view_host").get(url(make_host(), "upstream-setup"))
    assert (response.status_code, codes(response)) == (409, ["client_certificate_missing"])


def test_a_host_that_is_not_there_is_not_found() -> None:
    """As everywhere."""
    client = signed_in("view_host", "change_host")
    host = Host(name="nowhere")
    assert client.get(url(host, "upstream-setup")).status_code == 404
    assert client.post(url(host, "prove-enforcement")).status_code == 404


@pytest.mark.parametrize(
    ("permissions", "setup", "proof"),
    [((), 403, 403), (("view_host",), 200, 403), (("view_host", "add_host"), 200, 403), (("change_host",), 403, 403)],
)
def test_who_may_do_what(permissions: tuple[str, ...], setup: int, proof: int) -> None:
    """Reading needs `view`, trying an upstream needs `change` as well; adding hosts is neither."""
    client, host = signed_in(*permissions), make_host(upstream_tls=mtls())
    assert client.get(url(host, "upstream-setup")).status_code == setup
    assert client.post(url(host, "prove-enforcement")).status_code == proof
    assert APIClient().get(url(host, "upstream-setup")).status_code == 401
    assert ConnectionTest.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("verify", "verdict"), [("on", "enforced"), ("optional", "not_enforced")])
def test_a_proof(tmp_path: Path, verify: str, verdict: str) -> None:
    """200 with the verdict, the upstream, and every attempt."""
    client = signed_in("view_host", "change_host")
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CA.pem, verify=verify) as nginx:
        tls = mtls(ca_certificate=SERVER_CA.pem, server_name="backend.internal")
        host = make_host(upstreams=(UpstreamSpec(address="127.0.0.1", port=nginx.port),), upstream_tls=tls)
        response = client.post(url(host, "prove-enforcement"))
    document = response.json()
    assert response.status_code == 200
    assert document["verdict"] == verdict
    assert document["upstream"] == {"id": str(host.upstreams.all()[0].pk), "address": "127.0.0.1", "port": nginx.port}
    assert document["other_refused"] is None
    assert [attempt["presented"] for attempt in document["attempts"]] == ["own", "none"]
    assert {"presented", "outcome", "http_status", "code", "message"} == set(document["attempts"][0])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"upstream": str(uuid.uuid4())}, 400, "unknown_upstream"),
        ({"upstream": "first"}, 400, "invalid"),
        ({"upstreams": "all"}, 400, "unknown_field"),
    ],
)
def test_a_request_that_names_no_upstream_of_the_host(body: dict[str, str], status: int, code: str) -> None:
    """Nothing is tried."""
    response = signed_in("view_host", "change_host").post(
        url(make_host(upstream_tls=mtls()), "prove-enforcement"), body, format="json"
    )
    assert (response.status_code, codes(response)) == (status, [code])
    assert ConnectionTest.objects.count() == 0


def test_what_cannot_be_proved_is_a_conflict() -> None:
    """mTLS off, or no TLS at all."""
    client = signed_in("view_host", "change_host")
    plain = (UpstreamSpec(address="10.0.0.7", port=8080, scheme="http"),)
    off = client.post(url(make_host("off"), "prove-enforcement"))
    http = client.post(url(make_host("http", upstreams=plain, upstream_tls=mtls()), "prove-enforcement"))
    assert (off.status_code, codes(off)) == (409, ["client_certificate_missing"])
    assert (http.status_code, codes(http)) == (409, ["upstream_without_tls"])


@pytest.mark.django_db(transaction=True)
def test_without_a_worker_it_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem document that says so."""
    monkeypatch.setattr("hosts.connection_tests._enqueue", lambda test_ids: None)
    monkeypatch.setattr("hosts.connection_tests.TAKEN_WITHIN", datetime.timedelta(milliseconds=50))
    response = signed_in("view_host", "change_host").post(
        url(make_host(upstream_tls=mtls()), "prove-enforcement"), format="json"
    )
    assert (response.status_code, codes(response)) == (503, ["no_worker"])
