"""An Aegis whose every answer is looked at for canaries, and the hosts that have some."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aegis_site.environment import DATABASE_FILE
from aegis_site.kernel.keyring import Keyring
from tests.support.canaries import Canaries
from tests.support.certificates import Authority, Leaf
from tests.support.instance import Answer, Instance
from tests.support.nginx import Nginx


class Watched(Instance):
    """Every answer of the admin's process is looked at."""

    canaries: Canaries

    def web(self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        answer = super().web(path, method, body, headers)
        lines = "\n".join(f"{name}: {value}" for name, value in answer.headers)
        self.canaries.look(f"{method} {path}: {answer.status}", lines.encode() + b"\n" + answer.body)
        return answer


class World:
    """An Aegis, the certificates of its hosts, and what was planted."""

    def __init__(self, aegis: Watched, nginx: Nginx, server_ca: Authority, client_ca: Authority) -> None:
        self.aegis = aegis
        self.canaries = aegis.canaries
        self.nginx = nginx
        self.server_ca = server_ca
        self._client_ca = client_ca

    def identity(self, name: str) -> Leaf:
        """A client certificate whose key is a canary."""
        leaf = self._client_ca.client(name)
        self.canaries.plant_key(f"key of {name}", leaf.key)
        return leaf

    def plant(self, name: str) -> str:
        """A text that is as long as a token."""
        return self.canaries.plant(name, f"canary-{os.urandom(16).hex()}")

    def api(self, status: int, method: str, path: str, document: Any = None) -> Any:
        """The answer's document, which has the status that it should."""
        answer = self.aegis.api(method, path, document)
        assert answer.status == status, (method, path, answer.status, answer.body[:2000])
        return answer.json if answer.body else None

    def raw(self, method: str, path: str, body: bytes, **headers: str) -> int:
        """The status of an answer to a body that is sent as it is."""
        fields = {"Authorization": f"Token {self.aegis.token}", "Content-Type": "application/json"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.aegis.web(f"/api/v1/{path}", method, body, fields).status

    def host(self, name: str, identity: Leaf, **changes: Any) -> dict[str, Any]:
        """A document before nginx."""
        tls = {
            "enabled": True,
            "ca_certificate": self.server_ca.pem,
            "server_name": "backend.internal",
            "client_certificate": identity.chain_pem,
            "client_key": identity.key_pem,
        }
        upstreams = [{"scheme": "https", "address": "127.0.0.1", "port": self.nginx.port}]
        return {
            "name": name,
            "domains": [f"{name}.example.com"],
            "upstreams": upstreams,
            "upstream_tls": tls,
            **changes,
        }

    @contextmanager
    def table_away(self, name: str) -> Iterator[None]:
        """The database is broken: requests end in 500, with tracebacks in the log."""
        self._execute(f"ALTER TABLE {name} RENAME TO away_{name}")
        try:
            yield
        finally:
            self._execute(f"ALTER TABLE away_{name} RENAME TO {name}")

    def make_unreadable(self, table: str, column: str) -> None:
        """As after the loss of AEGIS_SSL_KEY."""
        self._execute(f"UPDATE {table} SET {column} = zeroblob(120) WHERE {column} IS NOT NULL")  # noqa: S608

    def plant_key_of_request(self, request_id: str) -> None:
        """The key that waits there for its certificate. No answer has it, so it is taken out of the database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            statement = "SELECT key FROM upstream_tls_certificaterequest WHERE id = ?"
            (blob,) = connection.execute(statement, [request_id.replace("-", "")]).fetchone()
        text = (self.aegis.data_dir / "aegis.env").read_text()
        found = re.search(r"^AEGIS_SSL_KEY=['\"]?([^'\"\n]+)", text, re.MULTILINE)
        assert found is not None
        place = f"upstream_tls.certificaterequest|key|{request_id}".encode()
        key = load_pem_private_key(Keyring(found[1]).open(blob, place), None)
        self.canaries.plant_key(f"key of request {request_id}", cast("EllipticCurvePrivateKey", key))

    def _execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(statement)

    @property
    def database(self) -> Path:
        return self.aegis.data_dir / DATABASE_FILE
