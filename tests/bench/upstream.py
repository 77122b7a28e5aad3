"""The upstream of all proxies: one nginx process that demands a client certificate and resumes no session.

Behind its /echo is a WebSocket server (tests/bench/echo.py).
"""

import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from aegis_site.environment import BASE_DIR
from tests.bench.scenarios import KIB
from tests.support.certificates import Authority
from tests.support.peers import find_program
from tests.support.polling import eventually
from tests.support.ports import free_port

SERVER_NAME = "upstream.test"

# Sessions are not resumed, so every new connection pays for a whole handshake, whichever proxy opens it.
_CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  default_type application/octet-stream;
  keepalive_requests 100000000;
  client_body_buffer_size 128k;
  open_file_cache max=16;
  server {{
    listen 127.0.0.1:{port} ssl backlog=1024;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    ssl_client_certificate client-ca.crt;
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;
    root files;
    location = /fresh {{ keepalive_timeout 0; }}
    location = /echo {{
      proxy_pass http://127.0.0.1:{echo_port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade;
      proxy_read_timeout 1h; proxy_send_timeout 1h;
    }}
    location = /post {{ return 200 "ok\\n"; }}
  }}
}}
"""


def accepts(port: int, address: str = "127.0.0.1") -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


class Material:
    """Keys and certificates of one run, as files in `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        authority, client_authority = Authority("Bench CA"), Authority("Bench client CA")
        self.client = client_authority.client("bench")
        self.ca_pem = authority.pem
        server, front = authority.server(SERVER_NAME), authority.server("app.test")
        files = {
            "ca.crt": authority.pem,
            "client-ca.crt": client_authority.pem,
            "client.crt": self.client.chain_pem,
            "client.key": self.client.key_pem,
            "server.crt": server.chain_pem,
            "server.key": server.key_pem,
            "front.crt": front.chain_pem,
            "front.key": front.key_pem,
            # HAProxy wants certificate and key in one file.
            "client.pem": self.client.chain_pem + self.client.key_pem,
            "front.pem": front.chain_pem + front.key_pem,
        }
        for name, text in files.items():
            (directory / name).write_text(text)

    def path(self, name: str) -> str:
        """The absolute path of one of the files."""
        return str((self.directory / name).absolute())


class BenchUpstream:
    """`with BenchUpstream(directory, material) as upstream:` serves on `upstream.port` of 127.0.0.1."""

    def __init__(self, directory: Path, material: Material) -> None:
        self.port, self._echo_port = free_port(), free_port()
        self._directory = directory
        files = directory / "files"
        files.mkdir(parents=True)
        for name, size in {"1k": KIB, "64k": 64 * KIB, "1m": 1024 * KIB, "fresh": KIB}.items():
            (files / name).write_bytes(b"x" * size)
        for name in ("server.crt", "server.key", "client-ca.crt"):
            (directory / name).write_bytes((material.directory / name).read_bytes())
        (directory / "nginx.conf").write_text(_CONFIGURATION.format(port=self.port, echo_port=self._echo_port))

    def __enter__(self) -> Self:
        nginx = find_program("nginx")
        if nginx is None:
            raise SystemExit("The upstream needs nginx: pip install -r requirements-dev.txt")
        self._echo = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.echo", str(self._echo_port)], cwd=BASE_DIR, stdin=subprocess.DEVNULL
        )
        self._process = subprocess.Popen(
            [nginx, "-p", f"{self._directory}/", "-c", "nginx.conf", "-e", "error.log"], stdin=subprocess.DEVNULL
        )
        eventually(self._is_up, within_s=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in (self._process, self._echo):
            process.kill()
            process.wait()

    def _is_up(self) -> bool:
        assert self._process.poll() is None, (self._directory / "error.log").read_text()
        return (self._directory / "nginx.pid").exists() and accepts(self._echo_port)
