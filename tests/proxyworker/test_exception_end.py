"""A worker whose exceptions from verification end while it serves: nobody tells it, and its feed is away."""

import http.client
import time
from pathlib import Path

from proxyworker.snapshot import HostEntry, Upstream, UpstreamTLS
from tests.proxyworker.worker import PATIENCE_S, Worker
from tests.support.certificates import Authority
from tests.support.nginx import Nginx, seen
from tests.support.polling import eventually

CA = Authority("Upstream CA")
CLIENT_CA = Authority("Client CA")
CLIENT = CLIENT_CA.client("client")
LASTS_S = 2.0


def host(name: str, port: int, ca_pem: str, until: float) -> HostEntry:
    """A host that accepts any upstream until then, and verifies it by this CA from then on."""
    return HostEntry(
        host_id=name,
        name=name,
        domains=(name,),
        upstreams=(Upstream(upstream_id=name, scheme="https", address="127.0.0.1", port=port),),
        upstream_tls=UpstreamTLS(
            client_certificate=CLIENT.chain_pem, ca_certificate=ca_pem, skip_verify=True, skip_verify_until=until
        ),
    )


class Clients:
    """Asks for the hosts over one connection of its own for each."""

    def __init__(self, worker: Worker, *names: str) -> None:
        self._connections = {
            name: http.client.HTTPConnection("127.0.0.1", worker.http, timeout=PATIENCE_S) for name in names
        }

    def get(self, name: str) -> tuple[int, str]:
        """The status, and which connection of the upstream it came over."""
        connection = self._connections[name]
        connection.request("GET", "/", headers={"Host": name})
        response = connection.getresponse()
        body = response.read()
        return response.status, seen(body)["connection"] if response.status == 200 else ""

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def test_verification_is_on_again_at_the_end(tmp_path: Path) -> None:
    """A good upstream goes on, over a new connection; another one is refused with the diagnosis of verification."""
    with Nginx(tmp_path / "nginx", server=CA.server("127.0.0.1"), client_ca_pem=CLIENT_CA.pem) as nginx:
        worker = Worker(tmp_path, keys={name: CLIENT.key_pem for name in ("good", "bad")})
        with worker:
            until = time.time() + LASTS_S
            worker.install(host("good", nginx.port, CA.pem, until), host("bad", nginx.port, Authority().pem, until))
            eventually(lambda: worker.get("bad").status != 404, within_s=PATIENCE_S)
            worker.install(None)
            clients = Clients(worker, "good", "bad")
            before = {name: {clients.get(name) for _ in range(3)} for name in ("good", "bad")}
            was_early = time.time() < until
            eventually(lambda: clients.get("bad")[0] == 502, within_s=PATIENCE_S)
            assert time.time() >= until
            after = {clients.get("good") for _ in range(3)}
            clients.close()
            log = worker.log
    assert was_early
    assert {status for status, _ in before["good"] | before["bad"]} == {200}
    assert {status for status, _ in after} == {200}
    assert not after & before["good"]
    assert "exception from verification is over, upstreams are verified: host=good" in log
    assert "host=bad upstream=https://127.0.0.1" in log
    assert "code=unknown_authority" in log
    assert "Traceback" not in log
