"""The process that opens PKCS#12 files, seen from outside."""

import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from tests.support.certificates import Authority
from upstream_tls.tls import pkcs12_child

LEAF = Authority().client()
CONTENT = pkcs12.serialize_key_and_certificates(
    None, LEAF.key, LEAF.certificate, None, BestAvailableEncryption(b"canary-passphrase")
)


def run(request: bytes, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", pkcs12_child.__file__]
    return subprocess.run(command, input=request, capture_output=True, timeout=30, check=False, cwd=cwd)


def test_a_file_comes_back_as_pem(tmp_path: Path) -> None:
    """The key first; nothing else is written anywhere, wherever it runs."""
    answer = run(len(b"canary-passphrase").to_bytes(4, "big") + b"canary-passphrase" + CONTENT, tmp_path)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout == LEAF.key_pem.encode() + LEAF.chain_pem.encode()
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_says_nothing(tmp_path: Path) -> None:
    """A status, and no traceback that could hold a secret, whatever the input."""
    for request in (b"", b"\xff\xff\xff\xff", b"\0\0\0\x01x" + CONTENT):
        answer = run(request, tmp_path)
        assert (answer.returncode, answer.stdout, answer.stderr) == (pkcs12_child.REFUSED, b"", b"")
