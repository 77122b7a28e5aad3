"""Hosts of one running Aegis in a second one: their documents, their secrets, and their traffic."""

import json
import socket
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.exchange.reading import Format, read_document, write_document
from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Answer, Instance
from tests.support.nginx import seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

PASSPHRASE = "one passphrase of both"
SERVED_WITHIN_S = 10.0
UNTIL = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Another Aegis: other keys, another CA, no hosts."""
    with Instance(tmp_path_factory.mktemp("second")) as running:
        yield running


class Fleet:
    """Hosts of the first Aegis that differ from the defaults in everything."""

    def __init__(self, aegis: Instance, host_document: HostDocument, server_ca: Authority, client: Leaf) -> None:
        self.aegis = aegis
        self.secret = f"Bearer {uuid.uuid4().hex}"
        self.client = client
        # Exports are in the order of names.
        full, lax = sorted((host_document(client) for _ in range(2)), key=lambda document: str(document["name"]))
        self.site = server_ca.server(full["domains"][0])
        self.domains = [full["domains"][0], lax["domains"][0]]
        self.ids = [aegis.create_host(**document)["id"] for document in (self._full(full), self._lax(lax))]
        # What stands in no document.
        self.secrets = [client.key_pem.splitlines()[1], self.site.key_pem.splitlines()[1], self.secret]

    def _full(self, document: dict[str, Any]) -> dict[str, Any]:
        (upstream,) = document["upstreams"]
        return {
            **document,
            "domains": [*document["domains"], f"*.{document['domains'][0]}"],
            "upstreams": [{**upstream, "weight": 3}, {**upstream, "address": "localhost", "drain": True}],
            "upstream_tls": {**document["upstream_tls"], "min_version": "TLSv1.3", "alpn": ["http/1.1"]},
            "downstream_tls": {
                "certificate": self.site.chain_pem,
                "key": self.site.key_pem,
                "force_https": False,
                "hsts_max_age_s": 600,
            },
            "preserve_host": True,
            "websockets": False,
            "access_log": False,
            "load_balancing": "least_connections",
            "request_headers": [
                {"action": "set", "name": "X-Team", "value": self.secret, "sensitive": True},
                {"action": "remove", "name": "X-Debug"},
            ],
            "response_headers": [{"action": "add", "name": "X-Frame-Options", "value": "DENY"}],
            "passive_health": {"max_failures": 4, "backoff_s": 2.5, "backoff_max_s": 70},
            "retries": {"max_attempts": 2, "budget_percent": 30},
            "limits": {"max_body_bytes": 4096},
            "timeouts": {"connect_s": 1.5, "response_head_s": 7, "idle_s": 12},
            "health_check": {
                "enabled": True,
                "path": "/health?deep=1",
                "expected_status": "200-204",
                "headers": [{"name": "X-Check", "value": "yes"}],
                "interval_s": 30,
                "timeout_s": 3,
            },
        }

    def _lax(self, document: dict[str, Any]) -> dict[str, Any]:
        tls = {"skip_verify": True, "skip_verify_reason": "until its new certificate", "skip_verify_until": UNTIL}
        return {**document, "upstream_tls": {**document["upstream_tls"], **tls}}

    @property
    def query(self) -> str:
        return "hosts/export?" + "&".join(f"id={host_id}" for host_id in self.ids)

    def exported_from(self, aegis: Instance) -> list[dict[str, Any]]:
        """These hosts, without secrets."""
        hosts: list[dict[str, Any]] = ok(aegis.api("GET", self.query))["hosts"]
        return hosts

    def check_traffic(self, aegis: Instance, server_ca: Authority) -> None:
        """nginx is shown the client certificate and the secret value, clients the certificate of the site."""
        for domain in self.domains:
            eventually(lambda domain=domain: aegis.proxy(domain).status == 200, within_s=SERVED_WITHIN_S)
        answers = [aegis.proxy(domain) for domain in self.domains]
        assert [seen(answer.body)["subject"] for answer in answers] == ["CN=traveller", "CN=traveller"]
        assert [seen(answer.body)["team"] for answer in answers] == [self.secret, ""]
        assert dict(answers[0].headers)["X-Frame-Options"] == "DENY"
        assert aegis.proxy(self.domains[0], method="POST", body=b"x" * 4097).status == 413
        context = ssl.create_default_context(cadata=server_ca.pem)
        with (
            socket.create_connection(("127.0.0.1", aegis.https_port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=self.domains[0]) as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
        assert shown == ssl.PEM_cert_to_DER_cert(self.site.chain_pem)


@pytest.fixture
def fleet(aegis: Instance, host_document: HostDocument, server_ca: Authority, client_ca: Authority) -> Fleet:
    return Fleet(aegis, host_document, server_ca, client_ca.client("traveller"))


def ok(answer: Answer) -> Any:
    assert answer.status == 200, answer.body[:2000]
    return answer.json


def counts(result: dict[str, Any]) -> dict[str, int]:
    """Of what became of hosts, where it is not none."""
    names = ("created", "changed", "unchanged", "deleted", "failed")
    return {name: result[name] for name in names if result[name]}


def test_by_the_api(fleet: Fleet, second: Instance, server_ca: Authority) -> None:
    """Looked at first, then imported: the same documents and traffic there, and afterwards nothing is left to do."""
    sealed = ok(fleet.aegis.api("POST", fleet.query, {"passphrase": PASSPHRASE}))
    assert not any(secret in json.dumps(sealed) for secret in fleet.secrets)
    whole = {**sealed, "passphrase": PASSPHRASE}

    refused = second.api("POST", "hosts/import", {**sealed, "passphrase": f"{PASSPHRASE}s"})
    assert (refused.status, [error["field"] for error in refused.json["errors"]]) == (400, ["passphrase"])
    closed = second.api("POST", "hosts/import", sealed)
    assert (closed.status, {error["code"] for error in closed.json["errors"]}) == (400, {"passphrase_required"})
    planned = ok(second.api("POST", "hosts/import?dry_run=true", whole))
    assert counts(planned) == {"created": 2}
    assert fleet.exported_from(second) == []

    done = ok(second.api("POST", "hosts/import", whole))
    assert (counts(done), done["hosts"]) == ({"created": 2}, planned["hosts"])
    assert [host["id"] for host in done["hosts"]] == fleet.ids
    assert not any(secret in json.dumps(done) for secret in fleet.secrets)
    assert fleet.exported_from(second) == fleet.exported_from(fleet.aegis)
    lax = ok(second.api("GET", f"hosts/{fleet.ids[1]}"))["upstream_tls"]
    assert (lax["skip_verify_by"], lax["skip_verify_until"]) == ("admin", UNTIL)
    assert counts(ok(second.api("POST", "hosts/import?dry_run=true", whole))) == {"unchanged": 2}
    fleet.check_traffic(second, server_ca)


def test_an_export_without_secrets(fleet: Fleet, second: Instance, server_ca: Authority) -> None:
    """Where the hosts are not, it is refused at each secret; where they are, it keeps what is stored."""
    bare = ok(fleet.aegis.api("GET", fleet.query))
    assert not any(secret in json.dumps(bare) for secret in fleet.secrets)
    refused = second.api("POST", "hosts/import", bare)
    assert (refused.status, {error["field"] for error in refused.json["errors"]}) == (
        400,
        {
            "hosts[0].upstream_tls.client_key",
            "hosts[0].downstream_tls.key",
            "hosts[0].request_headers[0].value",
            "hosts[1].upstream_tls.client_key",
        },
    )
    sealed = ok(fleet.aegis.api("POST", fleet.query, {"passphrase": PASSPHRASE}))
    ok(second.api("POST", "hosts/import", {**sealed, "passphrase": PASSPHRASE}))
    bare["hosts"][0]["limits"]["max_body_bytes"] = 4000
    bare["hosts"][0]["upstreams"].pop()
    result = ok(second.api("POST", "hosts/import", bare))
    assert counts(result) == {"changed": 1, "unchanged": 1}
    assert [change["field"] for change in result["hosts"][0]["changes"]] == ["upstreams[1]", "limits.max_body_bytes"]
    assert fleet.exported_from(second) == bare["hosts"]
    domain = fleet.domains[0]
    eventually(lambda: second.proxy(domain, method="POST", body=b"x" * 4001).status == 413, within_s=SERVED_WITHIN_S)
    fleet.check_traffic(second, server_ca)


@pytest.mark.soak
def test_by_commands(fleet: Fleet, second: Instance, server_ca: Authority, tmp_path: Path) -> None:
    """The same from file to file, by whoever sits at both machines."""
    passphrase, file = tmp_path / "passphrase", tmp_path / "hosts.yaml"
    passphrase.write_text(f"{PASSPHRASE}\n")

    def run(aegis: Instance, *arguments: str) -> str:
        ran = aegis.manage(*arguments, "--passphrase-file", str(passphrase))
        assert ran.returncode == 0, ran.stderr
        assert not any(secret in ran.stdout + ran.stderr for secret in fleet.secrets)
        return ran.stdout

    run(fleet.aegis, "export_hosts", "--output", str(file))
    document = read_document(file.read_bytes(), Format.YAML)
    # Other tests have hosts there as well.
    document["hosts"] = [host for host in document["hosts"] if host["id"] in fleet.ids]
    text = write_document(document, Format.YAML)
    assert not any(secret in text for secret in fleet.secrets)
    file.write_text(text)

    assert "2 created, 0 changed" in run(second, "import_hosts", str(file), "--user", "admin")
    assert fleet.exported_from(second) == fleet.exported_from(fleet.aegis)
    assert run(second, "import_hosts", str(file), "--dry-run") == (
        "Would be: 0 created, 0 changed, 2 unchanged, 0 deleted, 0 failed.\n"
    )
    fleet.check_traffic(second, server_ca)
