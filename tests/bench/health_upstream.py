"""Upstreams for checks: an nginx that demands a client certificate, and ports that never answer."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.upstream import Material, accepts
from tests.support.peers import find_program
from tests.support.polling import eventually
from tests.support.ports import free_port

# Several addresses: each connection that was closed keeps its port for a minute.
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
SILENT, BLACK_HOLE = "127.0.0.6", "127.0.0.7"

_CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    {listen}
    ssl_certificate {material}/server.crt;
    ssl_certificate_key {material}/server.key;
    ssl_client_certificate {material}/client-ca.crt;
    ssl_verify_client on;
    ssl_session_cache off;
    ssl_session_tickets off;
    location / {{ return 200 "ok\\n"; }}
  }}
}}
"""


@contextmanager
def answering(directory: Path, material: Material) -> Iterator[list[tuple[str, int]]]:
    """Where one nginx listens: an address each. No session is resumed, so that every check is a whole handshake."""
    nginx = find_program("nginx")
    if nginx is None:
        raise SystemExit("The upstreams need nginx: pip install -r requirements-dev.txt")
    directory.mkdir()
    port = free_port()
    listen = "\n".join(f"listen {address}:{port} ssl backlog=2048;" for address in ADDRESSES)
    text = _CONFIGURATION.format(listen=listen, material=material.directory.absolute())
    (directory / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        [nginx, "-p", f"{directory}/", "-c", "nginx.conf", "-e", "error.log"], stdin=subprocess.DEVNULL
    )
    try:
        eventually(lambda: accepts(port, ADDRESSES[-1]), within_s=10)
        yield [(address, port) for address in ADDRESSES]
    finally:
        process.kill()
        process.wait()


@contextmanager
def hanging(count: int) -> Iterator[list[tuple[str, int]]]:
    """`count` places that never answer: half take the connection and say nothing, half do not even take it."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server((SILENT, 0), backlog=2048))
        black_hole = stack.enter_context(socket.create_server((BLACK_HOLE, 0), backlog=0))
        # Linux drops what comes when the backlog is full, as a firewall does. It holds one more than it says.
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(black_hole.getsockname())
        places = [silent.getsockname(), black_hole.getsockname()]
        yield [places[number % 2] for number in range(count)]
