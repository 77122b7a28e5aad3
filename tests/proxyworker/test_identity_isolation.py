"""Identities never mix: a real nginx that demands a client certificate, behind hosts with and without one."""

import http.client
from pathlib import Path

from proxyworker.snapshot import HostEntry, Upstream, UpstreamTLS
from tests.proxyworker.worker import PATIENCE_S, Worker
from tests.support.certificates import Authority
from tests.support.nginx import Nginx, seen

CA = Authority("Upstream CA")
CLIENT_CA = Authority("Client CA")
KEYS = {name: CLIENT_CA.client(name) for name in ("good", "other")}
STRANGER = Authority("Stranger").client("stranger")
ROUNDS = 250


def host(name: str, port: int, certificate: str, ca_pem: str = CA.pem) -> HostEntry:
    """A host named like its domain, with the same upstream as all the others."""
    return HostEntry(
        host_id=name,
        name=name,
        domains=(name,),
        upstreams=(Upstream(upstream_id="u", scheme="https", address="127.0.0.1", port=port),),
        upstream_tls=UpstreamTLS(client_certificate=certificate, ca_certificate=ca_pem),
    )


def test_no_request_travels_under_another_identity(tmp_path: Path) -> None:
    """A thousand interleaved requests over kept connections: each host is seen as itself, or refused, every time.

    nginx's own proxy resumes the sessions of one host for another (its session cache has no identity), and then the
    host without a certificate gets 200.
    """
    with Nginx(tmp_path / "nginx", server=CA.server("127.0.0.1"), client_ca_pem=CLIENT_CA.pem) as nginx:
        hosts = [
            host("good", nginx.port, KEYS["good"].chain_pem),
            host("other", nginx.port, KEYS["other"].chain_pem),
            host("stranger", nginx.port, STRANGER.chain_pem),
            host("none", nginx.port, ""),
        ]
        keys = {name: leaf.key_pem for name, leaf in {**KEYS, "stranger": STRANGER}.items()}
        with Worker(tmp_path, *hosts, keys=keys) as worker:
            client = http.client.HTTPConnection("127.0.0.1", worker.http, timeout=PATIENCE_S)
            seen_by: dict[str, set[tuple[int, str]]] = {each.name: set() for each in hosts}
            connections: dict[str, set[str]] = {"good": set(), "other": set()}
            for _ in range(ROUNDS):
                for each in hosts:
                    client.request("GET", "/", headers={"Host": each.name})
                    response = client.getresponse()
                    body = response.read()
                    subject = ""
                    if response.status == 200:
                        what = seen(body)
                        subject = what["subject"]
                        assert what["reused"] == ".", "a TLS session was resumed"
                        connections[each.name].add(what["connection"])
                    seen_by[each.name].add((response.status, subject))
            client.close()
    assert seen_by == {
        "good": {(200, "CN=good")},
        "other": {(200, "CN=other")},
        "stranger": {(400, "")},
        "none": {(400, "")},
    }
    # Connections were kept, and no two identities shared one.
    assert {name: len(numbers) for name, numbers in connections.items()} == {"good": 1, "other": 1}
    assert not connections["good"] & connections["other"]


def test_upstream_that_cannot_be_verified_gets_nothing(tmp_path: Path) -> None:
    """Wrong CA, wrong name: 502, the reason in the log, and nginx sees no request at all."""
    with Nginx(tmp_path / "nginx", server=CA.server("elsewhere.test"), client_ca_pem=CLIENT_CA.pem) as nginx:
        hosts = [
            host("wrong-name", nginx.port, KEYS["good"].chain_pem),
            host("wrong-ca", nginx.port, KEYS["good"].chain_pem, ca_pem=Authority().pem),
        ]
        keys = {each.host_id: KEYS["good"].key_pem for each in hosts}
        with Worker(tmp_path, *hosts, keys=keys) as worker:
            answers = {each.name: worker.get(each.name) for each in hosts}
            log = worker.log
        access_log = tmp_path / "nginx" / "access.log"
        assert not access_log.exists() or access_log.read_text() == ""
    for answer in answers.values():
        assert answer.status == 502
        assert b"x509" not in answer.body
    assert "host=wrong-name upstream=https://127.0.0.1:" in log
    assert "phase=tls code=ip_mismatch" in log
    assert "phase=tls code=unknown_authority" in log
    assert "Traceback" not in log
