"""What if, compared with what happens: the change is asked about, then made, then every host is tested."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.test import Client

from hosts.connection_tests import latest_tests
from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from localca.services import IssuedBundle, ensure_authority, issue_client_certificate, issue_server_certificate
from tests.hosts.examples import CA, LEAF, make_host
from tests.hosts.zoo_hosts import host_before
from tests.support.certificates import Leaf
from tests.support.nginx import Nginx
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.zoo.running import Running, run_zoo

# Commits for real, because the work is queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)

NAME = "backend.internal"
MEMBERS = ["good", "good-chain", "only-tls-12", "unknown-authority", "certificate-required-by-page"]


class Found(NamedTuple):
    """What broke, by host, with the code; and what did not."""

    breaks: dict[str, str]
    works: set[str]


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Running]]:
    with run_zoo(MEMBERS) as running:
        yield running


def before_members(zoo: dict[str, Running], *names: str) -> None:
    """A host before each member."""
    for name in names:
        host_before(zoo[name], name=name)


def send(client: Client, method: str, path: str, document: Any = None) -> Any:
    response = client.generic(
        method, f"/api/v1/{path}", DjangoJSONEncoder().encode(document), content_type="application/json"
    )
    assert response.status_code in (200, 201), response.content
    return response.json()


def dump() -> dict[str, list[Any]]:
    """All rows of all tables but what a test leaves for an hour, and sessions."""
    skipped = {ConnectionTest._meta.db_table, "access_session"}
    with connection.cursor() as cursor:
        return {
            table: sorted(map(repr, cursor.execute(f'SELECT * FROM "{table}"').fetchall()))  # noqa: S608 (our tables)
            for table in connection.introspection.table_names(cursor)
            if table not in skipped
        }


def asked(client: Client, change: dict[str, Any]) -> Found:
    """The answer of what-if, which changes nothing."""
    before, own = dump(), {host.pk: latest_tests(host) for host in Host.objects.all()}
    answer = send(client, "POST", "what-if", {"change": change})
    assert dump() == before
    assert {host.pk: latest_tests(host) for host in Host.objects.all()} == own
    breaks = {
        host["name"]: next(found["code"] for found in host["upstreams"] if found["verdict"] == "breaks")
        for host in answer["hosts"]
        if host["verdict"] == "breaks"
    }
    return Found(breaks, {host["name"] for host in answer["hosts"] if host["verdict"] == "works"})


def codes_of(client: Client) -> dict[str, str]:
    """By host, why the first of its upstreams that fails does; empty when none does."""
    codes = {}
    for host in Host.objects.all():
        answer = send(client, "POST", f"hosts/{host.pk}/test-upstream-tls", {"all": True})
        codes[host.name] = next((found["error"]["code"] for found in answer["results"] if not found["success"]), "")
    return codes


def happened(client: Client, before: dict[str, str]) -> dict[str, str]:
    """What broke, with the code, since `before`."""
    return {name: code for name, code in codes_of(client).items() if code and not before[name]}


def change_all(client: Client, **settings: Any) -> None:
    for host in Host.objects.all():
        send(client, "PATCH", f"hosts/{host.pk}", {"upstream_tls": settings})


def test_a_minimum_version(admin_client: Client, zoo: dict[str, Running]) -> None:
    """Whoever was said to break does, with that code, and nobody else; also one of whose upstreams only one breaks."""
    before_members(zoo, "good", "only-tls-12", "unknown-authority")
    host_before(zoo["good"], zoo["only-tls-12"], name="both")
    before = codes_of(admin_client)
    answer = asked(admin_client, {"min_version": "TLSv1.3"})
    change_all(admin_client, min_version="TLSv1.3")
    assert happened(admin_client, before) == answer.breaks != {}
    assert set(answer.breaks) == {"only-tls-12", "both"}


def test_another_ca(admin_client: Client, zoo: dict[str, Running]) -> None:
    """One that knows none of the upstreams breaks all that worked."""
    before_members(zoo, "good", "good-chain", "unknown-authority")
    before = codes_of(admin_client)
    answer = asked(admin_client, {"ca_certificate": CA.pem})
    change_all(admin_client, ca_certificate=CA.pem)
    assert happened(admin_client, before) == answer.breaks != {}
    assert set(answer.breaks) == {name for name, code in before.items() if not code}


@pytest.mark.parametrize("which", [0, 1])
def test_a_ca_certificate_that_is_removed(admin_client: Client, zoo: dict[str, Running], which: int) -> None:
    """The upstreams' own breaks their hosts, the other one nobody."""
    before_members(zoo, "good")
    bundle = zoo["good"].spec.ca_pem.decode() + CA.pem
    host = host_before(zoo["good"], name="two-cas", ca_certificate=bundle)
    own = host.upstream_tls.ca_certificate_facts[which].fingerprint_sha256
    before = codes_of(admin_client)
    answer = asked(admin_client, {"remove_ca_certificate": {"fingerprint_sha256": own}})
    pems = [stored.upstream_tls.ca_certificate for stored in Host.objects.all()]
    for stored, pem in zip(Host.objects.all(), pems, strict=True):
        blocks = [f"{block}-----END CERTIFICATE-----\n" for block in pem.split("-----END CERTIFICATE-----\n")[:-1]]
        facts = stored.upstream_tls.ca_certificate_facts
        kept = [block for block, found in zip(blocks, facts, strict=True) if found.fingerprint_sha256 != own]
        send(admin_client, "PATCH", f"hosts/{stored.pk}", {"upstream_tls": {"ca_certificate": "".join(kept)}})
    assert happened(admin_client, before) == answer.breaks
    assert bool(answer.breaks) is (which == 0)


def test_a_client_certificate_that_is_replaced(admin_client: Client, zoo: dict[str, Running]) -> None:
    """By one that the upstreams do not trust; those who demand none do not mind."""
    before_members(zoo, "good", "only-tls-12", "certificate-required-by-page")
    host = Host.objects.get(name="good")
    old = host.upstream_tls.client_certificate_facts[0].fingerprint_sha256
    pair = {"client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}
    before = codes_of(admin_client)
    answer = asked(admin_client, {"replace_certificate": {"fingerprint_sha256": old, **pair}})
    for stored in Host.objects.all():
        facts = stored.upstream_tls.client_certificate_facts
        if facts and facts[0].fingerprint_sha256 == old:
            send(admin_client, "PATCH", f"hosts/{stored.pk}", {"upstream_tls": {"enabled": True, **pair}})
    assert happened(admin_client, before) == answer.breaks != {}


# Certificates of the local CA, before an nginx that demands one.


def leaf_of(bundle: IssuedBundle) -> Leaf:
    assert isinstance(bundle.key, ec.EllipticCurvePrivateKey)
    return Leaf(certificate=bundle.record.certificate, chain_pem=bundle.chain_pem, key=bundle.key)


@contextlib.contextmanager
def nginx_of_local_ca(directory: Path, server: Leaf, *, crl: str = "", port: int | None = None) -> Iterator[Nginx]:
    authority = ensure_authority()
    with Nginx(directory, server=server, client_ca_pem=authority.certificate_pem, crl_pem=crl, port=port) as nginx:
        yield nginx


def host_of_local_ca(name: str, nginx: Nginx, client: IssuedBundle, **tls: Any) -> Host:
    settings = UpstreamTLSChanges(
        enabled=True,
        client_certificate=client.chain_pem,
        client_key=client.key_pem.decode(),
        **{"ca_certificate": ensure_authority().certificate_pem, "server_name": NAME, **tls},
    )
    return make_host(name, upstreams=(UpstreamSpec(address="127.0.0.1", port=nginx.port),), upstream_tls=settings)


def crl_pem(client: Client) -> str:
    return str(client.get("/api/v1/ca/crl?encoding=pem").content.decode())


def test_a_client_certificate_that_is_revoked(admin_client: Client, tmp_path: Path) -> None:
    """Who is named is refused by the upstream that has the new list; who has another certificate is not."""
    ensure_authority()
    server = leaf_of(issue_server_certificate(common_name=NAME, subject_alt_names=[f"DNS:{NAME}"]))
    revoked, other = (issue_client_certificate(common_name=name) for name in ("revoked", "other"))
    with nginx_of_local_ca(tmp_path / "a", server, crl=crl_pem(admin_client)) as nginx:
        host_of_local_ca("named", nginx, revoked)
        host_of_local_ca("unconcerned", nginx, other)
        before = codes_of(admin_client)
        change = {"revoke_certificate": {"serial_number": revoked.record.serial_number}}
        answer = send(admin_client, "POST", "what-if", {"change": change})
        assert [(host["name"], host["verdict"]) for host in answer["hosts"]] == [("named", "not_tested")]
        port = nginx.port
    send(admin_client, "POST", f"certificates/{revoked.record.pk}/revoke", {"reason": "superseded"})
    with nginx_of_local_ca(tmp_path / "b", server, crl=crl_pem(admin_client), port=port):
        assert before == {"named": "", "unconcerned": ""}
        assert set(happened(admin_client, before)) == {"named"}


def test_a_certificate_of_an_upstream_that_is_revoked(admin_client: Client, tmp_path: Path) -> None:
    """Hosts that look at the CA's list break, those that do not go on; seen in the chain of their last test."""
    ensure_authority()
    issued = issue_server_certificate(common_name=NAME, subject_alt_names=[f"DNS:{NAME}"])
    client = issue_client_certificate(common_name="client")
    change = {"revoke_certificate": {"serial_number": issued.record.serial_number}}
    with nginx_of_local_ca(tmp_path, leaf_of(issued)) as nginx:
        host_of_local_ca("looks", nginx, client, crl=crl_pem(admin_client))
        host_of_local_ca("trusts", nginx, client)
        before = codes_of(admin_client)
        assert before == {"looks": "", "trusts": ""}
        answer = asked(admin_client, change)
        assert answer == Found({"looks": "revoked"}, {"trusts"})
        send(admin_client, "POST", f"certificates/{issued.record.pk}/revoke", {"reason": "superseded"})
        looks = Host.objects.get(name="looks")
        send(admin_client, "PATCH", f"hosts/{looks.pk}", {"upstream_tls": {"crl": crl_pem(admin_client)}})
        assert happened(admin_client, before) == answer.breaks
