"""Client certificates of a host, over HTTP."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from hosts.models import Host
from localca.keys import KeyType
from localca.models import IssuedCertificate
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.support.certificates import SERVER
from tests.support.signing_requests import signed_by
from upstream_tls.models import CertificateRequest, UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

WISH = {
    "common_name": "orders",
    "subject_alt_names": ["DNS:orders.internal"],
    "organization": "Orders",
    "country": "DE",
}


def signed_in(*codenames: str) -> APIClient:
    user = User.objects.create_user(f"user-{uuid.uuid4().hex[:8]}")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = APIClient()
    client.force_authenticate(user)
    return client


@pytest.fixture
def operator() -> APIClient:
    return signed_in("view_host", "change_host")


def requests_of(host: Host) -> str:
    return f"/api/v1/hosts/{host.pk}/certificate-requests"


def errors(response: Any) -> list[tuple[str, str]]:
    return [(error["field"], error["code"]) for error in response.json()["errors"]]


@pytest.mark.parametrize("slash", ["", "/"])
def test_from_the_request_to_the_installed_certificate(operator: APIClient, slash: str) -> None:
    """Made, listed, shown, answered, gone; no answer has the key."""
    host = make_host()
    made = operator.post(requests_of(host) + slash, WISH, format="json")
    document = made.json()
    assert (made.status_code, made["Location"]) == (201, document["url"])
    assert document["subject"] == "CN=orders,O=Orders,C=DE"
    assert document["subject_alt_names"] == ["DNS:orders.internal"]
    assert document["key_type"] == "EC P-256"
    assert document["csr"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
    listed, shown = operator.get(requests_of(host) + slash), operator.get(document["url"] + slash)
    assert listed.json() == {"results": [document]}
    assert shown.json() == document
    body = {"certificate": signed_by(CA, document["csr"])}
    key_line = CertificateRequest.objects.get().key.reveal().decode().splitlines()[1]
    installed = operator.post(f"{document['url']}/certificate{slash}", body, format="json")
    assert installed.status_code == 200, installed.json()
    tls = installed.json()["upstream_tls"]
    assert (tls["enabled"], tls["client_key_set"]) == (True, True)
    assert tls["client_certificate_info"]["subject"] == "CN=orders,O=Orders,C=DE"
    assert operator.get(document["url"]).status_code == 404
    for response in (made, listed, shown, installed):
        assert key_line not in response.content.decode()


def test_what_is_left_out_has_its_default(operator: APIClient) -> None:
    """The first domain, as subject and as name."""
    document = operator.post(requests_of(make_host()), {}, format="json").json()
    assert (document["subject"], document["subject_alt_names"]) == ("CN=orders.example.com", ["DNS:orders.example.com"])
    none = operator.post(requests_of(make_host("b")), {"subject_alt_names": []}, format="json").json()
    assert none["subject_alt_names"] == []


def test_a_bad_wish_has_its_errors_at_the_fields(operator: APIClient) -> None:
    """And makes nothing; so does a host that waits for enough."""
    host = make_host()
    wish = {"common_name": "", "subject_alt_names": ["orders"], "country": "Germany", "organization": "o" * 65}
    response = operator.post(requests_of(host), wish, format="json")
    assert (response.status_code, sorted(errors(response))) == (
        400,
        [
            ("common_name", "required"),
            ("country", "invalid"),
            ("organization", "max_length"),
            ("subject_alt_names", "invalid"),
        ],
    )
    unknown = operator.post(requests_of(host), {"key_type": "DSA", "key": LEAF.key_pem}, format="json")
    assert sorted(errors(unknown)) == [("key", "unknown_field"), ("key_type", "invalid_choice")]
    assert CertificateRequest.objects.count() == 0
    statuses = [operator.post(requests_of(host), {}, format="json") for _ in range(6)]
    assert [response.status_code for response in statuses] == [201] * 5 + [409]
    assert errors(statuses[-1]) == [("", "too_many_pending")]


def test_a_bad_certificate_changes_nothing(operator: APIClient) -> None:
    """The error stands at the field, and the request stays."""
    host = make_host(upstream_tls=mtls())
    made = operator.post(requests_of(host), WISH, format="json").json()
    for certificate, code in (
        (LEAF.chain_pem, "key_mismatch"),
        (signed_by(CA, made["csr"], usages=SERVER), "no_client_auth"),
        (LEAF.key_pem, "pem_swapped"),
        ("nothing", "bad_pem"),
        ("", "blank"),
    ):
        response = operator.post(f"{made['url']}/certificate", {"certificate": certificate}, format="json")
        assert (response.status_code, errors(response)) == (400, [("certificate", code)])
    assert UpstreamTLSConfiguration.objects.get().client_certificate == LEAF.chain_pem
    assert operator.get(made["url"]).status_code == 200


def test_a_request_can_be_deleted_once(operator: APIClient) -> None:
    """If it is the one that was seen, when the client says so."""
    made = operator.post(requests_of(make_host()), {}, format="json").json()
    etag = operator.get(made["url"])["ETag"]
    assert operator.delete(made["url"], headers={"If-Match": '"other"'}).status_code == 412
    assert operator.delete(made["url"], headers={"If-Match": etag}).status_code == 204
    assert operator.delete(made["url"]).status_code == 404


def test_requests_belong_to_their_host(operator: APIClient) -> None:
    """Below another one they are not there."""
    made = operator.post(requests_of(make_host()), {}, format="json").json()
    elsewhere = f"{requests_of(make_host('other'))}/{made['id']}"
    assert operator.get(elsewhere).status_code == operator.delete(elsewhere).status_code == 404
    body = {"certificate": signed_by(CA, made["csr"])}
    assert operator.post(f"{elsewhere}/certificate", body, format="json").status_code == 404
    assert operator.get(requests_of(Host(name="nowhere"))).status_code == 404


def test_who_may_do_what() -> None:
    """Looking takes `view`; everything else what a change of the host takes, whatever else somebody may do."""
    host = make_host()
    made = signed_in("view_host", "change_host").post(requests_of(host), {}, format="json").json()
    for permissions, expected in (
        ((), [403, 403, 403, 403]),
        (("view_host",), [200, 403, 403, 403]),
        (("view_host", "add_host", "delete_host"), [200, 403, 403, 403]),
        (("view_host", "change_certificaterequest", "delete_certificaterequest"), [200, 403, 403, 403]),
    ):
        client = signed_in(*permissions)
        assert [
            client.get(made["url"]).status_code,
            client.post(requests_of(host), {}, format="json").status_code,
            client.delete(made["url"]).status_code,
            client.post(f"{made['url']}/certificate", {}, format="json").status_code,
        ] == expected


def test_issue_and_install_in_one_step() -> None:
    """Of the type and for the time that was asked for; the answer is the host as it is now."""
    client = signed_in("view_host", "change_host", "add_issuedcertificate")
    host = make_host()
    url = f"/api/v1/hosts/{host.pk}/issue-certificate"
    response = client.post(url, {"key_type": "EC P-384", "validity_days": 30}, format="json")
    assert response.status_code == 200, response.json()
    record = IssuedCertificate.objects.get()
    tls = response.json()["upstream_tls"]
    assert tls["enabled"] is True
    assert tls["client_certificate_info"]["fingerprint_sha256"] == record.fingerprint_sha256
    assert (record.facts.key_type, record.facts.key_bits) == ("EC P-384", 384)
    assert (record.not_after - record.created_at).days in (29, 30)
    assert client.post(url, {}, format="json").status_code == 200
    wrong = client.post(url, {"key_type": KeyType.RSA_2048, "validity_days": 826}, format="json")
    assert errors(wrong) == [("validity_days", "max_value")]
    assert IssuedCertificate.objects.count() == 2


@pytest.mark.parametrize("permissions", [("view_host", "change_host"), ("view_host", "add_issuedcertificate")])
def test_issuing_takes_both_permissions(permissions: tuple[str, ...]) -> None:
    """To change hosts, and to issue."""
    response = signed_in(*permissions).post(f"/api/v1/hosts/{make_host().pk}/issue-certificate", {}, format="json")
    assert response.status_code == 403
    assert IssuedCertificate.objects.count() == 0
