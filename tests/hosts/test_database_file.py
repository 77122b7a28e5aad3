"""What really lies in the database file, and what several processes make of it at once."""

import base64
from pathlib import Path

import pytest

from aegis_site.environment import DATABASE_FILE
from tests.hosts.examples import LEAF
from tests.support.database import Installation, finished, let_go

COMMITS_PER_PROCESS = 15

_STORE = """
from hosts.services import create_host, install_issued_certificate, update_host
from hosts.specs import HostSpec, UpstreamSpec
from upstream_tls.changes import UpstreamTLSChanges
certificate, key = sys.stdin.read().split("====")
mtls = UpstreamTLSChanges(enabled=True, client_certificate=certificate, client_key=key)
spec = HostSpec(name="orders", domains=("orders.example.com",), upstream_tls=mtls)
host = create_host(spec=spec, user=None)
update_host(host=host, spec=HostSpec(name="renamed"), user=None)
from hosts.worker_feed import DatabaseFeed
(entry,) = DatabaseFeed().entries_since(0)
assert entry.open_client_key().decode() == key
"""

_RACE = """
from hosts.models import CompiledHost
from hosts.services import create_host, update_host
from hosts.specs import HostSpec
name = sys.argv[1]
host = create_host(spec=HostSpec(name=name, domains=(f"{name}.example.com",)), user=None)
sys.stdin.read()
seen = []
for turn in range(int(sys.argv[2])):
    update_host(host=host, spec=HostSpec(preserve_host=turn % 2 == 0), user=None)
    seen.append(CompiledHost.objects.get(pk=host.pk).generation)
print(*seen)
"""

_WATCH = """
import select
from hosts.models import CompiledHost
from hosts.worker_feed import DatabaseFeed
known, last, ended = {}, 0, False
while not ended:
    ended = bool(select.select([sys.stdin], [], [], 0)[0])
    for entry in DatabaseFeed().entries_since(last):
        assert entry.generation > last
        known[entry.host_id], last = entry.generation, entry.generation
assert known == {str(row.pk): row.generation for row in CompiledHost.objects.exclude(entry_json="")}
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Installation:
    return Installation(tmp_path_factory.mktemp("aegis"))


def raw_bytes(data_dir: Path) -> bytes:
    """The database and its write-ahead log as they lie on the disk."""
    return b"".join(path.read_bytes() for path in sorted(data_dir.glob(DATABASE_FILE + "*")))


def test_no_private_key_lies_in_the_file(installation: Installation) -> None:
    """Neither the PEM body nor the DER of a stored key, in the database or its log. The certificate is found there."""
    keeper = installation.start("import time\nfrom django.db import connection\nconnection.cursor()\nsys.stdin.read()")
    finished(installation.start(_STORE), LEAF.chain_pem + "====" + LEAF.key_pem)
    raw = raw_bytes(installation.data_dir)
    finished(keeper)
    assert LEAF.chain_pem.splitlines()[1].encode() in raw
    for line in LEAF.key_pem.splitlines()[1:-1]:
        assert line.encode() not in raw
    scalar = LEAF.key.private_numbers().private_value.to_bytes(32, "big")
    assert LEAF.key_der not in raw
    assert scalar not in raw
    assert base64.b64encode(scalar)[:-4] not in raw
    assert b"PRIVATE KEY" not in raw


def test_generations_of_two_processes_are_distinct_and_grow(installation: Installation) -> None:
    """Both change hosts at the same time; every change has its own generation; a worker that polls misses none."""
    processes = [installation.start(_RACE, name, str(COMMITS_PER_PROCESS)) for name in ("left", "right")]
    worker = installation.start(_WATCH)
    for process in processes:
        let_go(process)
    seen = [[int(word) for word in finished(process).split()] for process in processes]
    assert all(generations == sorted(generations) for generations in seen)
    together = [generation for generations in seen for generation in generations]
    assert len(set(together)) == 2 * COMMITS_PER_PROCESS
    finished(worker)
