"""Secrets that can be recognised wherever they turn up, in the forms in which they would leak."""

import base64
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.files import contents_below

_HEX_BYTES = 16
# How much of what stands before a leak is told.
_CONTEXT_BYTES = 150
# Where the private part of a P-256 key stands in its PKCS#8 PEM: in what follows, there is the public one.
_PRIVATE_LINES = slice(1, 3)


class Canaries:
    """All that was planted so far, and where it was found."""

    def __init__(self) -> None:
        self._forms: dict[str, list[tuple[str, bytes]]] = {}
        self.leaks: list[str] = []

    @property
    def names(self) -> set[str]:
        return set(self._forms)

    def plant(self, name: str, secret: str) -> str:
        """From now on `secret` is looked for."""
        self._forms[name] = list(_forms_of(secret.encode()))
        return secret

    def plant_key(self, name: str, key: EllipticCurvePrivateKey) -> None:
        """By its private number, and by the lines that it has in a PEM file."""
        scalar = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).splitlines()
        lines = [form for line in pem[_PRIVATE_LINES] for form in _forms_of(line)]
        self._forms[name] = [*_forms_of(scalar), *lines]

    def look(self, where: str, content: bytes, *, allowed: Iterable[str] = ()) -> None:
        """Notes each secret that is in `content`, but for those that are `allowed` there."""
        for name in self.names - set(allowed):
            for form, needle in self._forms[name]:
                if (position := content.find(needle)) >= 0:
                    before = content[max(0, position - _CONTEXT_BYTES) : position].decode("utf-8", "replace")
                    self.leaks.append(f"{name} ({form}) in {where}, after {before!r}")
                    break

    def look_into_files(self, directory: Path, *, allowed: dict[str, Iterable[str]] | None = None) -> None:
        """All files below `directory`; `allowed` says by file name which secrets may be where."""
        for path, content in contents_below(directory).items():
            self.look(str(path), content, allowed=(allowed or {}).get(path.name, ()))

    def look_into_database(self, path: Path) -> None:
        """Every value of every table of an SQLite file: in the file itself long ones are in pieces."""
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 (the database's own names)
                    self.look(f"table {table}", b"\n".join(map(_as_bytes, row)))


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _forms_of(secret: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", secret
    yield "URL-encoded", quote_plus(secret).encode()
    yield "in hex", secret[:_HEX_BYTES].hex().encode()
    for before in range(3):
        # Whatever stands before and behind it, the middle of its base64 is one of these three.
        encoded = base64.b64encode(b"\0" * before + secret)
        yield "in base64", encoded[(0, 2, 3)[before] : -4]
