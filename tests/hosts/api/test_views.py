"""Hosts and workers in the HTTP API."""

import base64
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from hosts.models import CompiledHost, GenerationCounter, Host, ProxyWorker
from tests.support.certificates import Authority, Leaf
from tests.support.odd_certificates import pem, revocation_list
from tests.support.pkcs12_files import SECRET, pkcs12_of

pytestmark = pytest.mark.django_db

URL = "/api/v1/hosts"
CA = Authority("Orders CA")


ADVANCED_DEFAULTS = {
    "skip_verify_reason": "",
    "skip_verify_until": None,
    "skip_verify_by": "",
    "skip_verify_since": None,
    "verify_name": "",
    "min_version": "TLSv1.2",
    "max_version": "TLSv1.3",
    "ciphers": "",
    "alpn": ["http/1.1"],
    "crl": "",
    "pinned_spki_sha256": [],
    "verify_depth": None,
    "warnings": [],
}


HEALTH_CHECK_DEFAULTS = {
    "enabled": False,
    "kind": "http",
    "method": "GET",
    "path": "/",
    "host_field": "",
    "expected_status": "200-399",
    "body_contains": "",
    "headers": [],
    "interval_s": 10,
    "timeout_s": 5.0,
    "healthy_after": 2,
    "unhealthy_after": 3,
}

TRAFFIC_DEFAULTS = {
    "timeouts": {
        "connect_s": 5.0,
        "tls_s": 5.0,
        "response_head_s": 60.0,
        "body_stall_s": 60.0,
        "idle_s": 55.0,
        "tunnel_idle_s": 3600.0,
        "tunnel_lifetime_s": 0.0,
        "tunnel_drain_s": 30.0,
    },
    "passive_health": {"max_failures": 3, "backoff_s": 1.0, "backoff_max_s": 60.0},
    "retries": {"max_attempts": 4, "budget_percent": 20, "budget_min_per_s": 10},
    "limits": {"max_body_bytes": 0},
    "request_headers": [],
    "response_headers": [],
}


@pytest.fixture(scope="module")
def leaf() -> Leaf:
    return CA.client("orders client")


def send(client: Client, method: str, url: str, document: Any, **headers: str) -> Any:
    return getattr(client, method)(url, document, content_type="application/json", headers=headers)


def document_of(name: str = "orders", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.example.com", f"*.{name}.example.com"],
        "upstreams": [{"scheme": "https", "address": "10.0.0.7", "port": 9443}],
        **changes,
    }


def mtls(leaf: Leaf, **changes: Any) -> dict[str, Any]:
    return {
        "enabled": True,
        "client_certificate": leaf.chain_pem,
        "client_key": leaf.key_pem,
        "ca_certificate": CA.pem,
        "server_name": "orders.internal",
        **changes,
    }


def created(client: Client, **document: Any) -> dict[str, Any]:
    response = send(client, "post", URL, document_of(**document))
    assert response.status_code == 201, response.json()
    shown: dict[str, Any] = response.json()
    return shown


def errors_of(response: Any) -> dict[str, str]:
    """Field and code of each error of a 400."""
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), response.content
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def stored_key(identifier: str) -> bytes | None:
    key = Host.objects.get(pk=identifier).upstream_tls.client_key
    return key.reveal() if key else None


def test_a_new_host(admin_client: Client, leaf: Leaf) -> None:
    """POST answers 201 with the representation, its URL and its ETag; GET shows the same."""
    response = send(admin_client, "post", URL, document_of(upstream_tls=mtls(leaf)))
    assert response.status_code == 201
    shown = response.json()
    assert response["Location"] == shown["url"] == f"http://testserver{URL}/{shown['id']}"
    again = admin_client.get(response["Location"])
    assert again.json() == shown
    assert again["ETag"] == response["ETag"]
    names = ("client_certificate_info", "ca_certificate_info", "ca_certificates_info")
    info = {name: shown["upstream_tls"].pop(name) for name in names}
    upstream_id = shown["upstreams"][0].pop("id")
    assert uuid.UUID(upstream_id)
    assert {name: shown[name] for name in shown if name not in ("id", "url", "created_at", "updated_at")} == {
        "name": "orders",
        "domains": ["orders.example.com", "*.orders.example.com"],
        "tags": [],
        "enabled": True,
        "preserve_host": False,
        "websockets": True,
        "access_log": True,
        "load_balancing": "round_robin",
        "upstreams": [
            {
                "scheme": "https",
                "address": "10.0.0.7",
                "port": 9443,
                "enabled": True,
                "weight": 1,
                "backup": False,
                "drain": False,
            }
        ],
        "upstream_tls": {
            "enabled": True,
            "client_certificate": leaf.chain_pem,
            "client_key_set": True,
            "ca_certificate": CA.pem,
            "skip_verify": False,
            "server_name": "orders.internal",
            **ADVANCED_DEFAULTS,
        },
        "downstream_tls": {
            "certificate": "",
            "certificate_info": None,
            "key_set": False,
            "force_https": False,
            "hsts_max_age_s": 0,
            "warnings": [],
        },
        **TRAFFIC_DEFAULTS,
        "health_check": HEALTH_CHECK_DEFAULTS,
    }
    assert info["client_certificate_info"]["subject"] == "CN=orders client"
    assert info["ca_certificate_info"]["subject"] == "CN=Orders CA"
    assert info["ca_certificate_info"]["is_ca"] is True
    assert info["ca_certificates_info"] == [info["ca_certificate_info"]]


def test_a_minimal_host(admin_client: Client) -> None:
    """Name and domains suffice; the rest has the defaults of the host editor."""
    response = send(admin_client, "post", URL, {"name": "plain", "domains": ["plain.example"]})
    shown = response.json()
    assert (shown["enabled"], shown["preserve_host"], shown["upstreams"]) == (True, False, [])
    assert shown["upstream_tls"] == {
        "enabled": False,
        "client_certificate": "",
        "client_certificate_info": None,
        "client_key_set": False,
        "ca_certificate": "",
        "ca_certificate_info": None,
        "ca_certificates_info": [],
        "skip_verify": False,
        "server_name": "",
        **ADVANCED_DEFAULTS,
    }


def test_all_errors_at_once(admin_client: Client, leaf: Leaf) -> None:
    """Each value that the services refuse is listed with its path and code, and nothing is stored."""
    other = CA.client("other")
    document = {
        "name": "",
        "domains": ["a..b"],
        "upstreams": [{"address": "10.0.0.7"}, {"address": "http://x", "port": 70000, "scheme": "ftp"}],
        "upstream_tls": mtls(leaf, client_key=other.key_pem, ca_certificate="no PEM", server_name="-"),
    }
    response = send(admin_client, "post", URL, document)
    assert errors_of(response) == {
        "name": "blank",
        "domains": "invalid",
        "upstreams[1].address": "invalid",
        "upstreams[1].port": "max_value",
        "upstreams[1].scheme": "invalid_choice",
        "upstream_tls.client_key": "key_mismatch",
        "upstream_tls.ca_certificate": "bad_pem",
        "upstream_tls.server_name": "invalid",
    }
    messages = [error["message"] for error in response.json()["errors"]]
    assert "tls: private key does not match public key" in messages
    assert not Host.objects.exists()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"http2": True}, "http2"),
        ({"health_check": {"grpc": True}}, "health_check.grpc"),
        ({"upstreams": [{"address": "a"}, {"address": "b", "slow_start_s": 2}]}, "upstreams[1].slow_start_s"),
        ({"timeouts": {"connect_ms": 5}}, "timeouts.connect_ms"),
        ({"upstream_tls": {"session_tickets": True}}, "upstream_tls.session_tickets"),
        ({"upstream_tls": {"client_kye": "x"}}, "upstream_tls.client_kye"),
    ],
)
@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_unsupported_fields_are_refused(
    admin_client: Client, method: str, document: dict[str, Any], field: str
) -> None:
    """What this version cannot do is an error at that field, never dropped in silence."""
    url = URL if method == "post" else f"{URL}/{created(admin_client)['id']}"
    response = send(admin_client, method, url, {"name": "x", "domains": ["x.example"], **document})
    assert errors_of(response) == {field: "unknown_field"}


def test_traffic_settings(admin_client: Client) -> None:
    """PATCH changes what it names, within a section too; PUT sets the rest back to its default."""
    url = f"{URL}/{created(admin_client)['id']}"
    rules = [{"action": "set", "name": "X-Frame-Options", "value": "DENY"}, {"action": "remove", "name": "Server"}]
    upstream = {"address": "10.0.0.7", "port": 9443, "weight": 5, "backup": True, "drain": True}
    document = {
        "load_balancing": "ip_hash",
        "access_log": False,
        "upstreams": [upstream],
        "timeouts": {"connect_s": 1.5},
        "retries": {"max_attempts": 1},
        "response_headers": rules,
    }
    assert send(admin_client, "patch", url, document).status_code == 200
    shown = send(admin_client, "patch", url, {"timeouts": {"tls_s": 2}}).json()
    assert (shown["load_balancing"], shown["access_log"]) == ("ip_hash", False)
    assert shown["upstreams"][0].items() >= upstream.items()
    assert shown["timeouts"] == TRAFFIC_DEFAULTS["timeouts"] | {"connect_s": 1.5, "tls_s": 2.0}
    assert shown["retries"] == TRAFFIC_DEFAULTS["retries"] | {"max_attempts": 1}
    assert shown["response_headers"] == [
        {**rules[0], "sensitive": False, "value_set": True},
        {**rules[1], "value": "", "sensitive": False, "value_set": False},
    ]
    assert send(admin_client, "put", url, shown).json().items() >= {"timeouts": shown["timeouts"]}.items()
    shown = send(admin_client, "put", url, document_of()).json()
    assert shown.items() >= {**TRAFFIC_DEFAULTS, "load_balancing": "round_robin", "access_log": True}.items()


def test_errors_of_traffic_settings(admin_client: Client) -> None:
    """Each at its path, in one answer."""
    document = document_of(
        load_balancing="fastest",
        upstreams=[{"address": "a", "weight": 0}],
        timeouts={"connect_s": 0, "tls_s": 1e9},
        passive_health={"backoff_s": 60, "backoff_max_s": 1},
        limits={"max_body_bytes": -1},
        request_headers=[
            {"action": "set", "name": "X-A", "value": "1"},
            {"action": "drop", "name": "X-A"},
            {"action": "set", "name": "Host", "value": "x"},
        ],
    )
    found = errors_of(send(admin_client, "post", URL, document))
    assert found == {
        "load_balancing": "invalid_choice",
        "upstreams[0].weight": "out_of_range",
        "timeouts.connect_s": "out_of_range",
        "timeouts.tls_s": "out_of_range",
        "passive_health.backoff_max_s": "order",
        "limits.max_body_bytes": "out_of_range",
        "request_headers[1].action": "invalid_choice",
        "request_headers[1].value": "required",
        "request_headers[2].name": "reserved",
    }


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"domains": "orders.example.com"}, "domains"),
        ({"domains": [["x"]]}, "domains[0]"),
        ({"name": None}, "name"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"upstreams": {}}, "upstreams"),
        ({"upstreams": ["10.0.0.7:80"]}, "upstreams[0]"),
        ({"upstreams": [{"address": "a", "port": "x"}]}, "upstreams[0].port"),
        ({"upstream_tls": []}, "upstream_tls"),
        ({"timeouts": 5}, "timeouts"),
        ({"timeouts": {"connect_s": "soon"}}, "timeouts.connect_s"),
        ({"request_headers": {}}, "request_headers"),
        ({"request_headers": [{"action": "remove"}]}, "request_headers[0].name"),
        ({"upstream_tls": {"client_key": None}}, "upstream_tls.client_key"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "half \ud83d"}, "name"),
    ],
)
def test_values_of_another_shape(admin_client: Client, document: dict[str, Any], field: str) -> None:
    """A value of the wrong type is an error at its path."""
    response = send(admin_client, "post", URL, document_of() | document)
    assert list(errors_of(response)) == [field]


@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_rule_without_action_is_an_error(admin_client: Client, method: str) -> None:
    """In a part too, which used to end in a 500: rules are a whole list."""
    url = f"{URL}/{created(admin_client)['id']}"
    response = send(admin_client, method, url, document_of(request_headers=[{}, {"name": "X-A", "value": "1"}]))
    assert errors_of(response) == {
        "request_headers[0].action": "required",
        "request_headers[0].name": "required",
        "request_headers[1].action": "required",
    }


def test_duplicates(admin_client: Client) -> None:
    """A taken name and a taken domain are refused, and the domain's host is named."""
    created(admin_client)
    response = send(admin_client, "post", URL, document_of())
    assert errors_of(response) == {"name": "unique", "domains": "unique"}
    messages = [error["message"] for error in response.json()["errors"]]
    assert "orders.example.com is already a domain of the host orders." in messages


def test_put_replaces_all_but_the_key(admin_client: Client, leaf: Leaf) -> None:
    """What PUT leaves out goes back to its default; the client key stays."""
    host = created(admin_client, upstream_tls=mtls(leaf), enabled=False, preserve_host=True, websockets=False)
    assert host["websockets"] is False
    key = stored_key(host["id"])
    shown = send(admin_client, "put", f"{URL}/{host['id']}", {"name": "new", "domains": ["new.example"]}).json()
    assert (shown["name"], shown["domains"]) == ("new", ["new.example"])
    assert (shown["enabled"], shown["preserve_host"], shown["upstreams"]) == (True, False, [])
    assert shown["websockets"] is True
    tls = shown["upstream_tls"]
    assert (tls["enabled"], tls["client_certificate"], tls["ca_certificate"], tls["server_name"]) == (False, "", "", "")
    assert tls["client_key_set"] is True
    assert stored_key(host["id"]) == key


def test_put_of_what_was_read_changes_nothing(admin_client: Client, leaf: Leaf) -> None:
    """A client may send back what it got: same values, same upstream, same key."""
    host = created(admin_client, upstream_tls=mtls(leaf))
    key = stored_key(host["id"])
    response = send(admin_client, "put", f"{URL}/{host['id']}", host)
    assert response.status_code == 200
    assert response.json() | {"updated_at": None} == host | {"updated_at": None}
    assert stored_key(host["id"]) == key


@pytest.mark.parametrize("method", ["put", "patch"])
def test_an_empty_key_clears_the_stored_one(admin_client: Client, leaf: Leaf, method: str) -> None:
    """`"client_key": ""` removes the key, in both methods."""
    host = created(admin_client, upstream_tls=mtls(leaf))
    tls = {"enabled": False, "client_key": ""}
    response = send(admin_client, method, f"{URL}/{host['id']}", document_of(upstream_tls=tls))
    assert response.json()["upstream_tls"]["client_key_set"] is False
    assert stored_key(host["id"]) is None


def test_the_key_cannot_be_cleared_while_it_is_needed(admin_client: Client, leaf: Leaf) -> None:
    """With mTLS enabled a host keeps its certificate and key."""
    host = created(admin_client, upstream_tls=mtls(leaf))
    response = send(admin_client, "patch", f"{URL}/{host['id']}", {"upstream_tls": {"client_key": ""}})
    assert errors_of(response) == {"upstream_tls.client_key": "client_certificate_missing"}
    assert stored_key(host["id"]) is not None


def test_patch_changes_what_it_names(admin_client: Client, leaf: Leaf) -> None:
    """Everything else stays, inside `upstream_tls` too."""
    host = created(admin_client, upstream_tls=mtls(leaf))
    change = {"enabled": False, "upstream_tls": {"skip_verify": True}}
    shown = send(admin_client, "patch", f"{URL}/{host['id']}", change).json()
    expected = host | {"enabled": False, "updated_at": shown["updated_at"]}
    changed = {name: shown["upstream_tls"][name] for name in ("skip_verify_since", "warnings")}
    expected["upstream_tls"] = host["upstream_tls"] | changed | {"skip_verify": True, "skip_verify_by": "admin"}
    assert shown == expected


def test_an_exception_from_verification(admin_client: Client, leaf: Leaf) -> None:
    """It has an owner and a beginning by itself, a reason and an end when they are given, and goes as a whole."""
    host = created(admin_client, upstream_tls=mtls(leaf))
    url = f"{URL}/{host['id']}"
    exception = {"skip_verify": True, "skip_verify_reason": "their CA moves", "skip_verify_until": "2099-01-01T00:00Z"}
    shown = send(admin_client, "patch", url, {"upstream_tls": exception}).json()["upstream_tls"]
    assert (shown["skip_verify_by"], shown["skip_verify_reason"]) == ("admin", "their CA moves")
    assert (shown["skip_verify_until"], shown["warnings"]) == ("2099-01-01T00:00:00Z", [])
    assert shown["skip_verify_since"]
    claim = send(admin_client, "patch", url, {"upstream_tls": {"skip_verify_by": "somebody else"}}).json()
    assert claim["upstream_tls"]["skip_verify_by"] == "admin"
    over = send(admin_client, "patch", url, {"upstream_tls": {"skip_verify_until": "2020-01-01T00:00Z"}})
    assert [(error["field"], error["code"]) for error in over.json()["errors"]] == [
        ("upstream_tls.skip_verify_until", "in_the_past")
    ]
    ended = send(admin_client, "patch", url, {"upstream_tls": {"skip_verify": False}}).json()["upstream_tls"]
    assert ended == host["upstream_tls"]


def test_upstreams_are_a_whole_list(admin_client: Client) -> None:
    """PATCH replaces the list; an upstream named by its id keeps it, and ports have the scheme's default."""
    host = created(admin_client)
    first = host["upstreams"][0]
    upstreams = [{"scheme": "http", "address": "b.internal"}, {"address": "c.internal"}, first | {"port": 9444}]
    shown = send(admin_client, "patch", f"{URL}/{host['id']}", {"upstreams": upstreams}).json()["upstreams"]
    assert [(upstream["address"], upstream["port"]) for upstream in shown] == [
        ("b.internal", 80),
        ("c.internal", 443),
        ("10.0.0.7", 9444),
    ]
    assert shown[2]["id"] == first["id"]


def test_an_encrypted_key(admin_client: Client, leaf: Leaf) -> None:
    """The passphrase opens the key once and is not stored; a wrong or missing one is an error at the key."""
    encrypted = leaf.encrypted_key_pem("open sesame")
    for passphrase, code in (({}, "key_encrypted"), ({"client_key_passphrase": "no"}, "key_wrong_passphrase")):
        tls = mtls(leaf, client_key=encrypted, **passphrase)
        response = send(admin_client, "post", URL, document_of(upstream_tls=tls))
        assert errors_of(response) == {"upstream_tls.client_key": code}
    tls = mtls(leaf, client_key=encrypted, client_key_passphrase="open sesame")
    host = created(admin_client, upstream_tls=tls)
    assert stored_key(host["id"]) == leaf.key_pem.encode()


def test_a_passphrase_without_a_key(admin_client: Client) -> None:
    """A passphrase that would do nothing is refused."""
    document = document_of(upstream_tls={"client_key_passphrase": "x"})
    assert errors_of(send(admin_client, "post", URL, document)) == {"upstream_tls.client_key_passphrase": "without_key"}


def test_advanced_settings_of_upstream_tls(admin_client: Client) -> None:
    """Written and read back in their canonical spelling; PUT without them goes back to the defaults."""
    crl = pem(revocation_list(CA, now=timezone.now()))
    settings = {
        "ca_certificate": CA.pem,
        "verify_name": "spiffe://example.org/orders",
        "min_version": "TLSv1.3",
        "ciphers": "ECDHE+AESGCM",
        "alpn": [],
        "crl": crl,
        "pinned_spki_sha256": ["AB" * 32],
        "verify_depth": 2,
    }
    shown = created(admin_client, upstream_tls=settings)
    expected = settings | {"pinned_spki_sha256": ["ab" * 32], "max_version": "TLSv1.3", "warnings": []}
    assert shown["upstream_tls"] | expected == shown["upstream_tls"]
    again = send(admin_client, "put", shown["url"], document_of()).json()["upstream_tls"]
    assert again | ADVANCED_DEFAULTS == again


def test_errors_of_advanced_settings(admin_client: Client) -> None:
    """Each at its path, those of lists at the list."""
    settings = {
        "verify_name": "*.a",
        "min_version": "TLSv1.1",
        "ciphers": "nonsense",
        "alpn": ["h2"],
        "crl": CA.pem,
        "pinned_spki_sha256": ["x"],
        "verify_depth": -1,
    }
    response = send(admin_client, "post", URL, document_of(upstream_tls=settings))
    assert set(errors_of(response)) == {f"upstream_tls.{name}" for name in settings}
    for name, value in (("alpn", "http/1.1"), ("verify_depth", "deep"), ("client_pkcs12", "?"), ("client_pkcs12", 7)):
        response = send(admin_client, "post", URL, document_of(upstream_tls={name: value}))
        assert set(errors_of(response)) == {f"upstream_tls.{name}"}


def test_a_pkcs12_file(admin_client: Client, leaf: Leaf) -> None:
    """In base64, with its passphrase; it brings certificate and key, and neither it nor the key is in an answer."""
    content = base64.encodebytes(pkcs12_of(leaf, CA.certificate)).decode()
    tls = {"enabled": True, "client_pkcs12": content, "client_key_passphrase": SECRET}
    response = send(admin_client, "post", URL, document_of(upstream_tls=tls))
    assert response.status_code == 201, response.json()
    assert response.json()["upstream_tls"]["client_certificate"] == leaf.chain_pem
    assert stored_key(response.json()["id"]) == leaf.key_pem.encode()
    assert content[:40] not in response.content.decode()
    wrong = send(
        admin_client, "put", response.json()["url"], document_of(upstream_tls=tls | {"client_key_passphrase": ""})
    )
    assert errors_of(wrong) == {"upstream_tls.client_pkcs12": "key_encrypted"}
    both = send(admin_client, "patch", response.json()["url"], {"upstream_tls": tls | {"client_key": leaf.key_pem}})
    assert errors_of(both) == {"upstream_tls.client_pkcs12": "conflict"}


def test_a_key_beside_the_certificate(admin_client: Client, leaf: Leaf) -> None:
    """It is taken as the client key and never shown as part of the certificate."""
    tls = mtls(leaf, client_certificate=leaf.key_pem + leaf.chain_pem)
    del tls["client_key"]
    host = created(admin_client, upstream_tls=tls)
    assert host["upstream_tls"]["client_certificate"] == leaf.chain_pem
    assert stored_key(host["id"]) == leaf.key_pem.encode()


def test_warnings_do_not_stop_anybody(admin_client: Client, leaf: Leaf) -> None:
    """They are in the representation, with code, field and message."""
    server_only = CA.server("orders.internal")
    tls = mtls(server_only, ca_certificate=CA.pem * 2)
    warnings = created(admin_client, upstream_tls=tls)["upstream_tls"]["warnings"]
    assert [(warning["code"], warning["field"]) for warning in warnings] == [
        ("no_client_auth", "client_certificate"),
        ("duplicate_certificate", "ca_certificate"),
    ]
    assert "answer it with alert 43" in warnings[0]["message"]
    other = created(admin_client, name="billing", upstream_tls=tls)["upstream_tls"]["warnings"]
    assert [warning["message"] for warning in other if warning["code"] == "shared_certificate"] == [
        "The same key is used by orders too. Upstreams cannot tell these hosts apart, and revoking the certificate "
        "stops all of them."
    ]


def test_no_answer_holds_a_key(admin_client: Client, leaf: Leaf) -> None:
    """Neither a representation, nor a list, nor an error, nor the browsable page, nor the history repeats a secret."""
    passphrase = "canary-passphrase-77"
    encrypted = leaf.encrypted_key_pem(passphrase)
    tls = mtls(leaf, client_key=encrypted, client_key_passphrase=passphrase)
    answers = [send(admin_client, "post", URL, document_of(upstream_tls=tls))]
    url = answers[0].json()["url"]
    answers += [
        admin_client.get(url),
        admin_client.get(URL),
        admin_client.get(url, headers={"Accept": "text/html"}),
        admin_client.options(url),
        send(admin_client, "put", url, document_of(upstream_tls=tls)),
        send(admin_client, "put", url, document_of(upstream_tls=tls | {"client_certificate": "x", "unknown": 1})),
        send(admin_client, "patch", url, {"upstream_tls": tls | {"client_key_passphrase": passphrase + "x"}}),
        send(admin_client, "patch", url, {"upstream_tls": {"client_key": leaf.key_pem, "ca_certificate": "x"}}),
    ]
    secrets = [leaf.key_pem.splitlines()[1], encrypted.splitlines()[2], passphrase, "PRIVATE KEY"]
    texts = [answer.content.decode() for answer in answers]
    texts += [f"{entry} {entry.changes}" for entry in AuditEntry.objects.filter(target_type="host")]
    assert len(texts) == len(answers) + 1
    for text in texts:
        for secret in secrets:
            assert secret not in text


def test_deleting(admin_client: Client, django_capture_on_commit_callbacks: Any, monkeypatch: Any) -> None:
    """DELETE answers 204; the host is gone and the workers are told to forget it."""
    monkeypatch.setattr("hosts.publish.announce", lambda generation: None)
    with django_capture_on_commit_callbacks(execute=True):
        host = created(admin_client)
    assert CompiledHost.objects.get(pk=host["id"]).entry_json
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.delete(f"{URL}/{host['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert admin_client.get(f"{URL}/{host['id']}").status_code == 404
    assert CompiledHost.objects.get(pk=host["id"]).is_tombstone
    assert GenerationCounter.objects.get().value == 2


def test_changes_are_in_the_history(admin_client: Client, admin_user: User) -> None:
    """Creating, changing and deleting are recorded for the user whose request it was, with its address."""
    host = created(admin_client)
    send(admin_client, "patch", f"{URL}/{host['id']}", {"enabled": False})
    admin_client.delete(f"{URL}/{host['id']}")
    entries = AuditEntry.objects.filter(user=admin_user, target_id=host["id"], origin="api", client_address="127.0.0.1")
    assert [entry.action for entry in entries] == ["deleted", "changed", "created"]
    assert entries[1].changes == [{"field": "enabled", "before": True, "after": False}]


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_lost_updates(admin_client: Client, method: str) -> None:
    """With If-Match a change is refused once the host is another than the client saw."""
    url = f"{URL}/{created(admin_client)['id']}"
    etag = admin_client.get(url)["ETag"]
    other = send(admin_client, "patch", url, {"preserve_host": True})
    assert other["ETag"] != etag
    response = send(admin_client, method, url, document_of(), **{"If-Match": etag})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (412, "precondition_failed")
    assert Host.objects.get().preserve_host
    assert send(admin_client, method, url, document_of(), **{"If-Match": other["ETag"]}).status_code in (200, 204)


@pytest.mark.parametrize(
    ("method", "needed"),
    [("post", "add_host"), ("put", "change_host"), ("patch", "change_host"), ("delete", "delete_host")],
)
def test_writing_needs_the_permission(admin_client: Client, method: str, needed: str) -> None:
    """Viewing is not changing; each method needs its own permission of the host."""
    url = URL if method == "post" else f"{URL}/{created(admin_client)['id']}"
    viewer = User.objects.create_user("viewer")
    viewer.user_permissions.add(Permission.objects.get(codename="view_host"))
    client = Client()
    client.force_login(viewer)
    document = document_of("other")
    assert send(client, method, url, document).status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename=needed))
    assert send(client, method, url, document).status_code in (200, 201, 204)


def test_unknown_hosts(admin_client: Client) -> None:
    """Every method on a host that does not exist is a 404."""
    for method in ("get", "put", "patch", "delete"):
        response = send(admin_client, method, f"{URL}/{uuid.UUID(int=1)}", {})
        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["alpha", "beta", "gamma"]),
        ({"ordering": "-name"}, ["gamma", "beta", "alpha"]),
        ({"search": "BETA"}, ["beta"]),
        ({"search": "*.gamma.example"}, ["gamma"]),
        ({"search": "10.0.0.7"}, ["alpha", "beta", "gamma"]),
        ({"page_size": 2, "page": 2}, ["gamma"]),
    ],
)
def test_lists(admin_client: Client, query: dict[str, Any], found: list[str]) -> None:
    """Lists are ordered, searched by name, domain and upstream without repetition, and paged."""
    for name in ("gamma", "alpha", "beta"):
        created(admin_client, name=name)
    document = admin_client.get(URL, query).json()
    assert [host["name"] for host in document["results"]] == found
    assert document["count"] == (3 if "page" in query else len(found))


def test_a_list_costs_the_same_for_any_number_of_hosts(
    admin_client: Client, leaf: Leaf, django_assert_num_queries: Any
) -> None:
    """The number of queries does not grow with the hosts."""
    created(admin_client, name="first", upstream_tls=mtls(leaf))
    admin_client.get(URL)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(URL)
    expected = len(few)
    for number in range(5):
        created(admin_client, name=f"more-{number}", upstream_tls=mtls(leaf))
    with django_assert_num_queries(expected):
        admin_client.get(URL)


def test_workers(admin_client: Client) -> None:
    """Each worker with its generation, whether that is the newest, and what it refused and why."""
    CompiledHost.objects.create(
        id=uuid.UUID(int=1), name="x", schema_version=1, generation=7, compiled_at=timezone.now()
    )
    for identifier, generation in (("a", 7), ("b", 6)):
        ProxyWorker.objects.create(
            worker_id=identifier,
            generation=generation,
            accepted=3,
            rejected={"host-2": "bad key", "host-1": "bad CA"},
            version="0.1",
            pid=42,
            last_seen_at=timezone.now(),
        )
    first, second = admin_client.get("/api/v1/workers").json()["results"]
    assert first.pop("last_seen_at")
    assert first == {
        "worker_id": "a",
        "generation": 7,
        "is_current": True,
        "accepted": 3,
        "rejected": [{"host": "host-1", "reason": "bad CA"}, {"host": "host-2", "reason": "bad key"}],
        "health_feed_is_current": False,
        "version": "0.1",
        "pid": 42,
    }
    assert (second["worker_id"], second["is_current"]) == ("b", False)


def test_workers_are_only_read(admin_client: Client, client: Client) -> None:
    """Workers describe themselves elsewhere; seeing them needs the permission."""
    assert send(admin_client, "post", "/api/v1/workers", {}).status_code == 405
    client.logout()
    client.force_login(User.objects.create_user("nobody"))
    assert client.get("/api/v1/workers").status_code == 403


# HTTPS towards clients


def https_of(shown: dict[str, Any]) -> dict[str, Any]:
    downstream: dict[str, Any] = shown["downstream_tls"]
    return downstream


def test_a_certificate_for_clients(admin_client: Client) -> None:
    """Written with its key, read without it; PATCH keeps what it does not name, PUT keeps the key."""
    site = CA.server("orders.example.com")
    document = {"certificate": site.chain_pem, "key": site.key_pem, "force_https": True, "hsts_max_age_s": 600}
    shown = created(admin_client, downstream_tls=document)
    assert https_of(shown)["certificate_info"]["subject"] == "CN=orders.example.com"
    assert [warning["code"] for warning in https_of(shown)["warnings"]] == ["domain_not_covered"]
    assert (https_of(shown)["key_set"], https_of(shown)["force_https"]) == (True, True)
    assert site.key_pem.splitlines()[1] not in str(shown)
    url = f"{URL}/{shown['id']}"
    patched = send(admin_client, "patch", url, {"downstream_tls": {"hsts_max_age_s": 0}}).json()
    assert (https_of(patched)["force_https"], https_of(patched)["hsts_max_age_s"]) == (True, 0)
    replaced = send(admin_client, "put", url, patched)
    assert replaced.status_code == 200, replaced.json()
    assert https_of(replaced.json()) == https_of(patched)
    reset = send(admin_client, "put", url, document_of()).json()
    assert https_of(reset) == https_of(created(admin_client, name="bare"))


def test_the_local_ca_issues_on_request(admin_client: Client) -> None:
    """For all domains of the host, in the same request that names them."""
    shown = created(admin_client, downstream_tls={"issue": True, "force_https": True})
    names = ["DNS:orders.example.com", "DNS:*.orders.example.com"]
    assert https_of(shown)["certificate_info"]["subject_alt_names"] == names
    assert https_of(shown)["warnings"] == []
    assert "PRIVATE" not in str(AuditEntry.objects.get(target_type="host").changes)


def test_issuing_needs_its_permission(client: Client) -> None:
    """As the button in the admin does."""
    user = User.objects.create_user("operator")
    user.user_permissions.set(Permission.objects.filter(codename__in=["add_host", "view_host", "change_host"]))
    client.force_login(user)
    assert send(client, "post", URL, document_of(downstream_tls={"issue": True})).status_code == 403
    assert not Host.objects.exists()


def test_errors_of_https_stand_below_it(admin_client: Client) -> None:
    """With the paths of the document."""
    site = CA.server("orders.example.com")
    wrong = {"certificate": site.chain_pem, "key": "x", "hsts_max_age_s": -1}
    response = send(admin_client, "post", URL, document_of(downstream_tls=wrong))
    assert errors_of(response) == {"downstream_tls.key": "bad_pem", "downstream_tls.hsts_max_age_s": "invalid"}
    response = send(admin_client, "post", URL, document_of(downstream_tls={"force_https": True}))
    assert errors_of(response) == {"downstream_tls.force_https": "certificate_missing"}
    domains = [f"d{number}.example.com" for number in range(101)]
    response = send(admin_client, "post", URL, document_of(domains=domains, downstream_tls={"issue": True}))
    assert errors_of(response) == {"downstream_tls.issue": "max_length"}
