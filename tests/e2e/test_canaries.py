"""Secrets are planted wherever one can go in, and looked for wherever one could come out.

Laws of this module: what is allowed to show a secret is said here, and nowhere else; where an answer is the one place
that shows it, it becomes a canary after that answer. Values of fields that are no secrets (names, choices) may come
back in errors, so none is planted there.
"""

import base64
import json
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote_plus

import pyotp
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aegis_site.environment import VALKEY_SOCKET
from tests.support.admin import AdminSession
from tests.support.canaries import Canaries
from tests.support.certificates import Authority
from tests.support.instance import ADMIN_PASSWORD
from tests.support.nginx import Nginx
from tests.support.pkcs12_files import SECRET, pkcs12_of
from tests.support.planted_world import Watched, World
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.signing_requests import signed_by

pytestmark = pytest.mark.e2e

ENVIRONMENT_SECRETS = ("AEGIS_SSL_KEY", "AEGIS_SECRET_KEY")
NAME = "orders.example.com"


@pytest.fixture
def world(
    tmp_path: Path, nginx: Nginx, server_ca: Authority, client_ca: Authority, request: pytest.FixtureRequest
) -> Iterator[World]:
    """An Aegis of its own, which says all that it can say."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"AEGIS_LOG_LEVEL": "DEBUG", "TMPDIR": str(temporary)}
    aegis = Watched(tmp_path / "aegis", environment=environment, is_new=True)
    aegis.canaries = Canaries()
    with aegis:
        aegis.canaries.plant("admin password", ADMIN_PASSWORD)
        aegis.canaries.plant("API token", aegis.token)
        text = (aegis.data_dir / "aegis.env").read_text()
        for name in ENVIRONMENT_SECRETS:
            found = re.search(rf"^{name}=['\"]?([^'\"\n]+)", text, re.MULTILINE)
            assert found is not None, name
            aegis.canaries.plant(name, found[1])
        yield World(aegis, nginx, server_ca, client_ca)


# With its Aegis it takes 110 s on two cores that others use too.
@pytest.mark.timeout(300)
def test_no_secret_comes_out(world: World, tmp_path: Path) -> None:
    """Not by any answer, log, table, queue, file or process, whether a request was good or failed."""
    host = plant_by_api(world)
    plant_in_refused_requests(world, host)
    plant_in_settings(world)
    plant_in_channels(world)
    plant_in_certificates(world)
    plant_in_certificate_requests(world, host)
    plant_in_documents(world, host, tmp_path)
    plant_in_rotations(world, host)
    plant_by_admin(world)
    plant_step_by_step(world)
    plant_second_factor(world)
    plant_at_the_door(world)
    plant_in_a_queue(world, host)
    plant_in_failures(world, host)
    look_everywhere(world, tmp_path)
    assert len(world.canaries.names) >= 30
    assert not world.canaries.leaks, "\n".join(world.canaries.leaks)


@pytest.mark.parametrize("leak", ["{}", "x={}&y", "{}\n"])
def test_what_leaks_is_found(leak: str, tmp_path: Path) -> None:
    """In each form, in files and tables; what is allowed is not told, and no leak repeats the secret itself."""
    canaries = Canaries()
    secret = canaries.plant("secret", "canary +/" + "s3cr3t" * 4)
    key = Authority().client().key
    canaries.plant_key("key", key)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    forms = [secret, quote_plus(secret), base64.b64encode(secret.encode()).decode(), secret.encode()[:16].hex()]
    forms += [
        base64.b64encode(b"xy" + secret.encode() + b"z").decode(),
        scalar.hex(),
        base64.b64encode(b"x" + scalar).decode(),
    ]
    for form in forms:
        canaries.look("here", leak.format(form).encode())
    canaries.look("allowed", secret.encode(), allowed=["secret"])
    assert len(canaries.leaks) == len(forms)
    assert secret not in "".join(canaries.leaks)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text(leak.format(secret))
    canaries.look_into_files(tmp_path)
    with closing(sqlite3.connect(tmp_path / "database")) as database, database:
        database.execute("CREATE TABLE things (name TEXT, content BLOB)")
        database.execute("INSERT INTO things VALUES ('x', ?)", [scalar])
    canaries.look_into_database(tmp_path / "database")
    assert len(canaries.leaks) == len(forms) + 2


def plant_by_api(world: World) -> dict[str, Any]:
    """A host with every kind of secret, which works."""
    site = world.server_ca.server(NAME)
    world.canaries.plant_key("downstream key", site.key)
    rules = [
        {"action": "set", "name": "Authorization", "value": f"Bearer {world.plant('request rule')}"},
        {"action": "set", "name": "X-Team", "value": world.plant("marked rule"), "sensitive": True},
    ]
    cookies = [{"action": "add", "name": "Set-Cookie", "value": f"s={world.plant('response rule')}"}]
    document = world.host(
        "orders",
        world.identity("orders"),
        downstream_tls={"certificate": site.chain_pem, "key": site.key_pem},
        request_headers=rules,
        response_headers=cookies,
    )
    host = cast("dict[str, Any]", world.api(201, "POST", "hosts", document))
    eventually(lambda: world.aegis.proxy(NAME).status == 200, within_s=20)
    assert any(name == "Set-Cookie" and value == cookies[0]["value"] for name, value in world.aegis.proxy(NAME).headers)
    path = f"hosts/{host['id']}"
    shown = world.api(200, "GET", path)
    assert world.api(200, "PUT", path, shown)["request_headers"] == shown["request_headers"]
    assert any(name == "Set-Cookie" for name, _ in world.aegis.proxy(NAME).headers)
    packed = base64.b64encode(pkcs12_of(world.identity("pkcs12"))).decode()
    world.canaries.plant("PKCS#12 file", packed[200:400])
    tls = {"client_pkcs12": packed, "client_key_passphrase": SECRET}
    world.api(200, "PATCH", path, {"upstream_tls": tls})
    leaf, passphrase = world.identity("encrypted"), world.plant("key passphrase")
    tls = {"client_certificate": leaf.chain_pem, "client_key": leaf.encrypted_key_pem(passphrase)}
    world.api(200, "PATCH", path, {"upstream_tls": {**tls, "client_key_passphrase": passphrase}})
    for page in ("", "/upstream-setup", "/posture", "/logs"):
        world.aegis.api("GET", path + page)
    for page in ("hosts", "posture", "expiry", "logs", "audit", "workers"):
        world.api(200, "GET", page)
    return host


def plant_in_rotations(world: World, host: dict[str, Any]) -> None:
    """A candidate that waits, so that its key and the previous one are stored; its pages, and one that is refused."""
    leaf, passphrase = world.identity("candidate"), world.plant("candidate passphrase")
    document = {"client_certificate": leaf.chain_pem, "client_key": leaf.encrypted_key_pem(passphrase)}
    path = f"hosts/{host['id']}/rotations"
    world.api(201, "POST", path, {**document, "client_key_passphrase": passphrase, "manual": True})
    rotation = world.api(200, "GET", path)["results"][0]["id"]
    eventually(lambda: world.api(200, "GET", f"rotations/{rotation}")["state"] in ("ready", "refused"), within_s=20)
    world.api(409, "POST", path, {**document, "client_key_passphrase": passphrase})
    session = AdminSession(world.aegis, "admin", ADMIN_PASSWORD)
    for page in (f"{path}/", f"{path}/{rotation}/"):
        assert session.get(f"/admin/hosts/host/{page.removeprefix('hosts/')}").status == 200


def plant_in_refused_requests(world: World, host: dict[str, Any]) -> None:
    """400, 401, 404, 412, 413, 415, 422."""
    path = f"hosts/{host['id']}"
    leaf, passphrase, token = world.identity("refused"), world.plant("wrong passphrase"), world.plant("refused rule")
    good = {"action": "set", "name": "Authorization", "value": f"Bearer {token}"}
    encrypted = {"client_key": leaf.encrypted_key_pem("another passphrase"), "client_key_passphrase": passphrase}
    refused = [
        world.host("", leaf, request_headers=[good]),
        world.host("refused", leaf, request_headers=[{**good, "name": "Host"}, {**good, "value": f"{token}\n"}]),
        world.host("refused", leaf, request_headers=[{**good, "extra": token}, {**good, "value": [token]}, token]),
        world.host("refused", leaf, upstream_tls={"enabled": True, **encrypted}),
        world.host("refused", leaf, upstream_tls={"enabled": True, "client_key": [leaf.key_pem]}),
        world.host("refused", leaf, upstream_tls={"enabled": leaf.key_pem, "min_version": "TLSv1"}),
        world.host("refused", world.identity("other"), downstream_tls={"certificate": "x", "key": leaf.key_pem}),
        world.host(
            "refused", leaf, upstream_tls={"client_certificate": leaf.chain_pem, "client_key": leaf.key_pem[9:]}
        ),
        world.host("refused", leaf, load_balancing="x", domains=["?"], upstreams=[{"scheme": "x"}], timeouts=token),
    ]
    for document in refused:
        world.api(400, "POST", "hosts", document)
    whole = json.dumps(world.host("refused", leaf, request_headers=[good])).encode()
    assert world.raw("POST", "hosts", whole[:-2]) == 400
    assert world.raw("POST", "hosts", b"\xff" + whole) == 400
    assert world.raw("POST", "hosts", whole, Content_Type="text/plain") == 415
    assert world.raw("PUT", path, whole, If_Match='"other"') == 412
    # Only said to be so long: it is refused before all of it is sent.
    assert world.raw("POST", "hosts", whole, Content_Length=str(13 * 1024 * 1024)) == 413
    assert world.raw("POST", f"{path}/nothing", whole) == 404
    assert world.raw("POST", "hosts", whole, Authorization=f"Token {world.plant('wrong token')}") == 401
    assert world.raw("POST", "hosts", whole, Idempotency_Key="one") == 201
    assert world.raw("POST", "hosts", whole, Idempotency_Key="one") == 201
    assert world.raw("POST", "hosts", whole + b" ", Idempotency_Key="one") == 422


def plant_in_settings(world: World) -> None:
    """The mail server's password, saved, refused, and tried on a server that is not there."""
    smtp = {"host": "127.0.0.1", "port": free_port(), "security": "starttls", "username": "aegis"}
    smtp |= {"from_address": "aegis@example.com", "password": world.plant("SMTP password")}
    world.api(200, "PATCH", "settings", {"smtp": smtp})
    refused = {**smtp, "port": 0, "security": "x", "password": world.plant("refused password")}
    world.api(400, "PATCH", "settings", {"smtp": refused, "general": {"public_url": "x"}})
    tried = {**smtp, "password": world.plant("tried password")}
    world.aegis.api("POST", "settings/test-email", {"to": "admin@example.com", "smtp": tried})
    world.api(200, "GET", "settings")


def plant_in_channels(world: World) -> None:
    """Addresses and tokens of notification channels: stored, refused, and used by a message that does not arrive."""
    address = f"https://127.0.0.1:{free_port()}/{world.plant('channel address')}"
    made = world.api(201, "POST", "notification-channels", {"name": "chat", "kind": "slack", "url": address})
    world.api(200, "POST", f"notification-channels/{made['id']}/test")
    ntfy = {"name": "phone", "kind": "ntfy", "url": f"https://127.0.0.1:{free_port()}/t"}
    world.api(201, "POST", "notification-channels", {**ntfy, "secret": world.plant("channel token")})
    refused = {"name": "phone", "kind": "webhook", "url": f"ftp://{world.plant('refused address')}"}
    world.api(400, "POST", "notification-channels", {**refused, "secret": world.plant("refused signing secret")})
    world.api(200, "GET", "notification-channels")
    world.api(200, "GET", "audit?target_type=notification_channel")


def plant_in_certificates(world: World) -> None:
    """An issued key is in one answer, and its passphrase in none."""
    order = {"purpose": "client", "common_name": "canary", "include_private_key": True}
    issued = world.api(201, "POST", "certificates", order)
    key = cast("EllipticCurvePrivateKey", load_pem_private_key(issued["private_key"].encode(), None))
    world.canaries.plant_key("issued key", key)
    passphrase = world.plant("issuance passphrase")
    world.api(201, "POST", "certificates", {**order, "format": "pkcs12", "passphrase": passphrase})
    world.api(400, "POST", "certificates", {**order, "passphrase": passphrase, "csr": world.plant("signing request")})
    world.api(400, "POST", "certificates", {**order, "format": "x", "passphrase": passphrase * 9})
    leaf = world.identity("not a signing request")
    world.api(400, "POST", "certificates", {"purpose": "client", "common_name": "canary", "csr": leaf.key_pem})
    world.api(200, "GET", "certificates")


def plant_in_certificate_requests(world: World, host: dict[str, Any]) -> None:
    """A key that waits for a certificate is in no answer; one that was pasted with the certificate neither."""
    path = f"hosts/{host['id']}/certificate-requests"
    waiting, other = (world.api(201, "POST", path, {}) for _ in range(2))
    for made in (waiting, other):
        world.plant_key_of_request(made["id"])
    session = AdminSession(world.aegis, "admin", ADMIN_PASSWORD)
    for page in ("client-certificate", f"certificate-requests/{other['id']}/", "change/"):
        session.get(f"/admin/hosts/host/{host['id']}/{page}")
    leaf = world.identity("answer with its key")
    world.api(400, "POST", f"{path}/{other['id']}/certificate", {"certificate": leaf.chain_pem + leaf.key_pem})
    form = session.form(f"/admin/hosts/host/{host['id']}/certificate-requests/{other['id']}/")
    assert session.send(form, {"certificate": leaf.chain_pem + leaf.key_pem}).status == 200
    signed = signed_by(Authority("Other CA"), waiting["csr"])
    world.api(200, "POST", f"{path}/{waiting['id']}/certificate", {"certificate": signed})
    world.api(200, "GET", path)
    world.api(200, "GET", f"hosts/{host['id']}")
    world.api(200, "GET", "audit?target_type=certificate_request")


def plant_in_documents(world: World, host: dict[str, Any], tmp_path: Path) -> None:
    """Exports and imports, by the API and by commands."""
    passphrase, wrong = world.plant("export passphrase"), world.plant("wrong export passphrase")
    sealed = world.api(200, "POST", "hosts/export", {"passphrase": passphrase})
    world.api(400, "POST", "hosts/export", {"passphrase": passphrase[:10]})
    plain = world.api(200, "GET", "hosts/export")
    world.api(200, "POST", "hosts/import", {**sealed, "passphrase": passphrase})
    world.api(200, "POST", "hosts/import", plain)
    world.api(400, "POST", "hosts/import", {**sealed, "passphrase": wrong})
    leaf, token = world.identity("imported"), world.plant("imported rule")
    rule = {"action": "set", "name": "X-Api-Key", "value": token}
    document = {"aegis_export": 1, "hosts": [world.host("imported", leaf, request_headers=[rule])]}
    world.api(200, "POST", "hosts/import", document)
    bad = world.host("bad", leaf, request_headers=[{**rule, "name": "Host"}], domains=["?"])
    world.api(400, "POST", "hosts/import", {"aegis_export": 1, "hosts": [bad]})
    secret_file, exported, given = (tmp_path / name for name in ("passphrase", "exported.yaml", "given.json"))
    secret_file.write_text(passphrase)
    given.write_text(json.dumps({"aegis_export": 1, "hosts": [bad]}))
    for command in (
        ("export_hosts", "--output", str(exported)),
        ("export_hosts", "--passphrase-file", str(secret_file)),
        ("import_hosts", str(exported)),
        ("import_hosts", str(given)),
        ("rotate_ssl_key",),
    ):
        done = world.aegis.manage(*command, timeout_s=90)
        world.canaries.look(" ".join(command), (done.stdout + done.stderr).encode())
    world.canaries.look("an export", exported.read_bytes())
    change = {"replace_certificate": {"host": host["id"], "certificate": leaf.chain_pem, "key": leaf.key_pem}}
    world.aegis.api("POST", "what-if", {"change": change})


def plant_by_admin(world: World) -> None:
    """The same by forms, with errors and without."""
    session = AdminSession(world.aegis, "admin", ADMIN_PASSWORD)
    assert session.is_signed_in
    leaf, token = world.identity("pasted"), world.plant("typed rule")
    values = {
        "domains": "pasted.example.com",
        "tls_enabled": "on",
        "client_certificate": leaf.chain_pem,
        "client_key": leaf.key_pem,
        "client_key_passphrase": world.plant("typed passphrase"),
        "request_headers": f"set secret X-Team: {token}\nAuthorization: Bearer {token}",
        "response_headers": f"Set-Cookie {token}",
    }
    add = session.form("/admin/hosts/host/add/")
    assert session.send(add, {**values, "name": ""}).status == 200
    session.submit(add, {**values, "name": "pasted", "response_headers": ""})
    session.get("/admin/hosts/host/")
    for path in ("/admin/", "/admin/dashboard/live/"):
        assert session.get(path).status == 200
    (pasted,) = [host for host in world.api(200, "GET", "hosts?search=pasted")["results"] if host["name"] == "pasted"]
    editor = f"/admin/hosts/host/{pasted['id']}/change/"
    session.submit(session.form(editor), {"domains": "pasted.example.com\nother.example.com"})
    session.get(f"/admin/hosts/host/{pasted['id']}/history/")
    assert [rule.get("value_set") for rule in world.api(200, "GET", f"hosts/{pasted['id']}")["request_headers"]] == [
        True,
        True,
    ]
    password = world.plant("SMTP password in the form")
    settings = session.form("/admin/settings/")
    assert session.send(settings, {"smtp_password": password, "smtp_port": "0"}).status == 200
    assert session.send(settings, {"smtp_password": password}).status in (200, 302)
    session.get("/admin/settings/")
    person = {"username": "carol", "password1": world.plant("password of a user"), "role": "viewer"}
    form = session.form("/admin/auth/user/add/")
    assert session.send(form, {**person, "password2": world.plant("another password")}).status == 200
    session.send(form, {**person, "password2": person["password1"]})
    AdminSession(world.aegis, "carol", person["password1"])
    session.get("/admin/audit/auditentry/")


def plant_step_by_step(world: World) -> None:
    """The key of a new host, beside the wrong certificate and beside the right one."""
    session = AdminSession(world.aegis, "admin", ADMIN_PASSWORD)
    answer = session.submit(session.form("/admin/hosts/host/set-up/"), {"domains": "stepped.example.com"})
    steps = dict(answer.headers)["Location"].removesuffix("upstreams/")
    session.submit(session.form(f"{steps}upstreams/"), {"upstreams": f"https://127.0.0.1:{world.nginx.port}"})
    leaf, other = world.identity("stepped"), world.identity("stepped beside")
    values = {
        "do": "upload",
        "client_certificate": leaf.chain_pem,
        "client_key": other.key_pem,
        "client_key_passphrase": world.plant("passphrase of a step"),
    }
    form = session.form(f"{steps}certificate/")
    assert session.send(form, values).status == 200
    session.submit(form, {**values, "client_key": leaf.key_pem})
    for step in ("check", "certificate", "server", "test", "live"):
        assert session.get(f"{steps}{step}/").status == 200


def plant_second_factor(world: World) -> None:
    """The secret is on one page, the recovery codes on another; then they are used, rightly, wrongly, and in vain."""
    admin = AdminSession(world.aegis, "admin", ADMIN_PASSWORD)
    password = world.plant("password of a careful user")
    person = {"username": "dora", "password1": password, "password2": password, "role": "viewer"}
    admin.submit(admin.form("/admin/auth/user/add/"), person)
    page = "/admin/two-factor/"
    dora = AdminSession(world.aegis, "dora", password)
    dora.submit(dora.form(page), {})
    found = re.search(r"data-secret>([A-Z2-7 ]+)<", dora.get(page).body.decode())
    assert found is not None
    secret = found[1].replace(" ", "")
    confirm = dora.form(page)
    world.canaries.plant("TOTP secret", secret)
    answer = dora.send(confirm, {"code": pyotp.TOTP(secret).now()})
    codes = re.findall("[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", answer.body.decode())
    for number, code in enumerate(codes):
        world.canaries.plant(f"recovery code {number}", code)
        world.canaries.plant(f"recovery code {number} as it is hashed", code.replace("-", ""))
    dora.get(page)
    again = AdminSession(world.aegis, "dora", password)
    form = again.form("/admin/login/code/")
    assert again.send(form, {"code": world.plant("wrong code")}).status == 200
    with world.table_away("access_recoverycode"):
        assert again.send(form, {"code": codes[0]}).status >= 500
    again.submit(form, {"code": codes[1]})
    assert again.is_signed_in
    proof = again.form(page)
    assert again.send(proof, {"action": "off", "password": world.plant("wrong proof"), "code": codes[2]}).status == 200
    again.submit(again.form(page), {"action": "off", "password": password, "code": codes[2]})
    world.api(200, "GET", "audit?target_type=user")


def plant_at_the_door(world: World) -> None:
    """Sign-ins that fail, one with the password typed as name, which only the form itself shows again."""
    assert not AdminSession(world.aegis, "admin", world.plant("wrong password")).is_signed_in
    assert not AdminSession(world.aegis, "nobody", world.plant("password of nobody")).is_signed_in
    typed = "Canary-typed-as-name-7f31c5"
    for _ in range(6):  # it is locked out as well
        assert not AdminSession(world.aegis, typed, "wrong").is_signed_in
    world.canaries.plant("password as user name", typed)


def plant_in_a_queue(world: World, host: dict[str, Any]) -> None:
    """A test with a pasted key waits for the Celery worker, which is busy."""
    leaf = world.identity("queued")
    tls = {"client_certificate": leaf.chain_pem, "client_key": leaf.key_pem}
    path = f"hosts/{host['id']}/test-upstream-tls"
    world.api(200, "POST", path, {"upstream_tls": tls})
    stopped = world.aegis.signal("worker", signal.SIGSTOP)
    try:
        world.api(503, "POST", path, {"upstream_tls": tls})
        assert look_into_valkey(world) > 0
        world.canaries.look_into_database(world.database)
    finally:
        os.kill(stopped, signal.SIGCONT)


def plant_in_failures(world: World, host: dict[str, Any]) -> None:
    """Aegis itself fails, in the middle of a request with secrets."""
    session = AdminSession(world.aegis, "admin", ADMIN_PASSWORD)
    leaf, token = world.identity("failing"), world.plant("failing rule")
    document = world.host("failing", leaf, request_headers=[{"action": "set", "name": "Cookie", "value": token}])
    form = session.form("/admin/hosts/host/add/")
    values = {"name": "failing", "domains": "failing.example.com", "client_key": leaf.key_pem}
    with world.table_away("hosts_domain"):
        assert world.aegis.api("POST", "hosts", document).status >= 500
        assert session.send(form, {**values, "request_headers": f"Cookie: {token}"}).status >= 500
    path = f"hosts/{host['id']}"
    world.make_unreadable("upstream_tls_upstreamtlsconfiguration", "client_key")
    world.make_unreadable("hosts_trafficconfiguration", "header_secrets")
    for method, below, body in (
        ("GET", "", None),
        ("PATCH", "", {"request_headers": document["request_headers"], "enabled": False}),
        ("PATCH", "", {"enabled": True}),
        ("POST", "/test-upstream-tls", {}),
    ):
        world.aegis.api(method, path + below, body)
    world.aegis.api("POST", "hosts/export", {"passphrase": world.plant("passphrase of an export that fails")})
    checked = world.aegis.manage("check", "--database", "default")
    assert "client_key" in checked.stderr
    assert "header_secrets" in checked.stderr
    world.canaries.look("check", (checked.stdout + checked.stderr).encode())


def look_into_valkey(world: World) -> int:
    """Every key with its value. How many there are."""
    with closing(redis.Redis(unix_socket_path=str(world.aegis.data_dir / VALKEY_SOCKET))) as client:
        read: dict[bytes, Any] = {
            b"string": client.get,
            b"list": lambda key: client.lrange(key, 0, -1),
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1),
        }
        keys = list(client.scan_iter())
        for key in keys:
            # One that has ended since it was listed has nothing any more.
            value = read.get(client.type(key), lambda _: None)(key)
            world.canaries.look(f"Valkey's {key!r}", key + repr(value).encode())
        return len(keys)


def look_everywhere(world: World, tmp_path: Path) -> None:
    """What is left when all requests are answered."""
    canaries, aegis = world.canaries, world.aegis
    for process in aegis.processes():
        directory = Path(f"/proc/{process.pid}")
        canaries.look(f"the command line of {process.command}", (directory / "cmdline").read_bytes())
        # What an operator hands to `up` in its environment stays in there: Linux shows it as it was at the start.
        allowed = ["admin password"] if "aegis_site.instance" in process.command else []
        canaries.look(f"the environment of {process.command}", (directory / "environ").read_bytes(), allowed=allowed)
    canaries.look("/metrics", aegis.metrics().body)
    look_into_valkey(world)
    canaries.look_into_database(world.database)
    canaries.look("the log", aegis.log.encode())
    canaries.look_into_files(aegis.data_dir, allowed={"aegis.env": ENVIRONMENT_SECRETS})
    canaries.look_into_files(tmp_path / "temporary")
