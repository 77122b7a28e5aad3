"""Requests through the proxy to a real nginx that demands a client certificate."""

import base64
import json
import sqlite3

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from proxyworker.log_files import file_name
from tests.e2e.conftest import HostDocument
from tests.support.certificates import Authority, Leaf, expired
from tests.support.files import contents_below
from tests.support.instance import Instance
from tests.support.nginx import seen
from tests.support.polling import eventually

pytestmark = pytest.mark.e2e

# What "live at once" means: the promise.
LIVE_WITHIN_S = 1.0


def subject_seen(aegis: Instance, domain: str) -> str:
    """The subject of the certificate that nginx saw, or the status when it is not 200."""
    answer = aegis.proxy(domain)
    return seen(answer.body)["subject"] if answer.status == 200 else f"status {answer.status}"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_web_and_worker_say_that_they_are_ready(aegis: Instance, path: str) -> None:
    """Both health endpoints of both processes answer 200."""
    assert aegis.web(path).status == 200
    assert aegis.metrics(path).status == 200


def test_the_proxy_presents_the_hosts_client_certificate(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """nginx verifies it and sees its subject, the server name and its own Host."""
    host = aegis.create_host(**host_document(client_ca.client("orders")))
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=LIVE_WITHIN_S)
    document = seen(aegis.proxy(domain).body)
    assert (document["subject"], document["verify"], document["sni"]) == ("CN=orders", "SUCCESS", "backend.internal")


def test_what_was_answered_is_in_the_access_log_and_the_metrics(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """In the file of its host in the data directory; the end of its client certificate is a metric."""
    leaf = client_ca.client("orders")
    host = aegis.create_host(**host_document(leaf))
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=LIVE_WITHIN_S)
    log = aegis.data_dir / "access-log" / file_name(host["name"])
    eventually(lambda: log.exists() and '"status":200,' in log.read_text(), within_s=15)
    answered = json.loads(log.read_text().splitlines()[-1])
    assert (answered["host"], answered["upstream_status"], answered["attempts"]) == (host["name"], 200, 1)
    expiry = {sample.labels.get("host"): sample.value for sample in aegis_certificates(aegis)}
    assert expiry[host["name"]] == int(leaf.certificate.not_valid_after_utc.timestamp())


def aegis_certificates(aegis: Instance) -> list[Sample]:
    """The ends of certificates that the worker tells."""
    families = text_string_to_metric_families(aegis.metrics().body.decode())
    return [sample for family in families for sample in family.samples if "certificate_not_after" in sample.name]


def test_a_host_without_certificate_gets_nginx_refusal(aegis: Instance, host_document: HostDocument) -> None:
    """nginx finishes the handshake and answers 400; the proxy passes that on."""
    host = aegis.create_host(**host_document(None))
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain).status not in {404, 421}, within_s=LIVE_WITHIN_S)
    answer = aegis.proxy(domain)
    assert answer.status in {400, 502}
    assert b"CN=" not in answer.body


@pytest.mark.parametrize("fault", ["expired", "other CA"])
def test_a_certificate_that_nginx_does_not_accept_is_refused(
    aegis: Instance, host_document: HostDocument, client_ca: Authority, fault: str
) -> None:
    """A wrong identity never gets through."""
    identity = client_ca.client("late", **expired()) if fault == "expired" else Authority("Other CA").client("stranger")
    host = aegis.create_host(**host_document(identity))
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain).status not in {404, 421}, within_s=LIVE_WITHIN_S)
    assert aegis.proxy(domain).status in {400, 502}


def test_an_upstream_that_does_not_verify_is_502_without_details(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """The client learns that it failed, not why."""
    document = host_document(client_ca.client("orders"))
    document["upstream_tls"]["ca_certificate"] = Authority("Unrelated CA").pem
    domain = aegis.create_host(**document)["domains"][0]
    eventually(lambda: aegis.proxy(domain).status not in {404, 421}, within_s=LIVE_WITHIN_S)
    answer = aegis.proxy(domain)
    assert answer.status == 502
    assert b"x509" not in answer.body.lower()
    assert b"certificate" not in answer.body.lower()


def test_a_new_identity_is_live_within_a_second(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """Saved means used: the next requests carry the new certificate, and never the old one again."""
    host = aegis.create_host(**host_document(client_ca.client("before")))
    domain = host["domains"][0]
    eventually(lambda: subject_seen(aegis, domain) == "CN=before", within_s=LIVE_WITHIN_S)
    after = client_ca.client("after")
    answer = aegis.api(
        "PATCH",
        f"hosts/{host['id']}",
        {"upstream_tls": {"client_certificate": after.chain_pem, "client_key": after.key_pem}},
    )
    assert answer.status == 200, answer.body
    eventually(lambda: subject_seen(aegis, domain) == "CN=after", within_s=LIVE_WITHIN_S)
    assert {subject_seen(aegis, domain) for _ in range(10)} == {"CN=after"}


def test_a_deleted_host_is_gone_within_a_second(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """Nobody answers for its domain any more."""
    host = aegis.create_host(**host_document(client_ca.client("orders")))
    domain = host["domains"][0]
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=LIVE_WITHIN_S)
    assert aegis.api("DELETE", f"hosts/{host['id']}").status == 204
    eventually(lambda: aegis.proxy(domain).status != 200, within_s=LIVE_WITHIN_S)


def test_no_private_key_is_in_the_database_in_clear(
    aegis: Instance, host_document: HostDocument, client_ca: Authority
) -> None:
    """Neither the PEM body nor the DER, nor the bare secret number, in the file, its log or Valkey's files."""
    identity = client_ca.client("secret")
    domain = aegis.create_host(**host_document(identity))["domains"][0]
    eventually(lambda: aegis.proxy(domain).status == 200, within_s=LIVE_WITHIN_S)
    assert_stored(aegis, domain)
    for path, content in contents_below(aegis.data_dir).items():
        for form in forms_of_key(identity):
            assert form not in content, path.name


def assert_stored(aegis: Instance, domain: str) -> None:
    """The database has the host, so that the search looks in the right place."""
    with sqlite3.connect(f"file:{aegis.data_dir}/aegis.sqlite3?mode=ro", uri=True) as database:
        assert database.execute("SELECT 1 FROM hosts_domain WHERE name = ?", (domain,)).fetchone()
    database.close()


def forms_of_key(identity: Leaf) -> list[bytes]:
    """Ways in which a key could stand in a file."""
    body = "".join(identity.key_pem.splitlines()[1:-1])
    number = identity.key.private_numbers().private_value.to_bytes(32, "big")
    lines = [line.encode() for line in identity.key_pem.splitlines()[1:-1]]
    return [*lines[:1], body.encode(), identity.key_der, number, number.hex().encode(), base64.b64encode(number)]


def test_no_secret_is_in_a_command_line(aegis: Instance) -> None:
    """Every user of the machine can read the command lines of all processes."""
    secrets = dict(line.split("=", 1) for line in (aegis.data_dir / "aegis.env").read_text().splitlines()[1:])
    for process in aegis.processes():
        for value in [*secrets.values(), aegis.variables["AEGIS_ADMIN_PASSWORD"]]:
            assert value not in process.command
