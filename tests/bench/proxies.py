"""The proxies that are compared, each with one worker, kept upstream connections, an access log and metrics.

Laws of this module: every proxy verifies the upstream's certificate and name, presents the client certificate, passes
the client's address on, and reuses upstream connections without a limit on requests. HTTP/1.1 on both sides.
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyworker.compiled import build_directory
from proxyworker.snapshot import HostEntry, UpstreamTLS
from proxyworker.snapshot import Upstream as UpstreamEntry
from tests.bench.scenarios import DOMAIN
from tests.bench.upstream import SERVER_NAME, Material
from tests.proxyworker.worker import Worker
from tests.support.peers import find_program
from tests.support.ports import free_port

# As it is installed here, and as it is where there is no C compiler.
AEGIS, PURE = "aegis", "aegis-pure"


@dataclass(frozen=True)
class Setting:
    """What a proxy is configured from: where its files go, its ports and the upstream's."""

    directory: Path
    material: Material
    upstream_port: int
    http: int
    https: int

    def write(self, name: str, content: str | dict[str, Any]) -> str:
        """A file in the proxy's directory; JSON, which is YAML too, for a dict. Its path."""
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)


@dataclass(frozen=True)
class Running:
    """A proxy that has been started."""

    name: str
    process: subprocess.Popen[bytes]
    http: int
    https: int

    def stop(self) -> None:
        """At once."""
        self.process.kill()
        self.process.wait()


class NotInstalled(Exception):
    """The proxy's program is not on this machine."""


def start(name: str, directory: Path, material: Material, upstream_port: int) -> Running:
    """Starts the proxy and returns without waiting for it. Raises NotInstalled."""
    directory.mkdir()
    if name == PURE and not build_directory().is_dir():
        raise NotInstalled(f"aegis is not compiled, so {PURE} would be the same")
    if name in (AEGIS, PURE):
        return _start_aegis(name, directory, material, upstream_port)
    program = find_program(name)
    if program is None:
        raise NotInstalled(f"{name} is not installed")
    setting = Setting(directory, material, upstream_port, free_port(), free_port())
    arguments, environment = _FOREIGN[name](setting)
    with (directory / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments],
            cwd=directory,
            env={**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return Running(name, process, setting.http, setting.https)


def _start_aegis(name: str, directory: Path, material: Material, upstream_port: int) -> Running:
    host = HostEntry(
        host_id="bench",
        name="bench",
        # wrk names the address in its handshake; a request for another host than that one would be misdirected.
        domains=(DOMAIN, "127.0.0.1"),
        upstreams=(UpstreamEntry(upstream_id="u", scheme="https", address="127.0.0.1", port=upstream_port),),
        upstream_tls=UpstreamTLS(
            client_certificate=material.client.chain_pem, ca_certificate=material.ca_pem, server_name=SERVER_NAME
        ),
    )
    access_log: dict[str, object] = {"destination": str(directory / "access-log"), "form": "combined"}
    worker = Worker(directory, host, keys={"bench": material.client.key_pem}, poll_s=5.0, access_log=access_log)
    worker.start({"TESTS_COMPILED": "0"} if name == PURE else {})
    return Running(name, worker.process, worker.http, worker.https)


Command = tuple[list[str], dict[str, str]]


def _nginx(setting: Setting) -> Command:
    path = setting.material.path
    setting.write(
        "nginx.conf",
        f"""
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 4096; }}
http {{
  access_log access.log;
  map $http_upgrade $connection_field {{ default Upgrade; "" ""; }}
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_buffer_size 128k; keepalive_requests 100000000;
  upstream up {{ server 127.0.0.1:{setting.upstream_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{setting.http} backlog=1024;
    listen 127.0.0.1:{setting.https} ssl backlog=1024;
    ssl_certificate {path("front.crt")};
    ssl_certificate_key {path("front.key")};
    server_name {DOMAIN};
    location / {{
      proxy_pass https://up;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_field; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host {SERVER_NAME};
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Request-ID $request_id;
      proxy_buffers 8 16k;
      proxy_max_temp_file_size 0;
      proxy_ssl_certificate {path("client.crt")};
      proxy_ssl_certificate_key {path("client.key")};
      proxy_ssl_trusted_certificate {path("ca.crt")};
      proxy_ssl_verify on; proxy_ssl_verify_depth 3;
      proxy_ssl_name {SERVER_NAME}; proxy_ssl_server_name on;
      proxy_ssl_protocols TLSv1.2 TLSv1.3;
    }}
  }}
}}
""",
    )
    return ["-p", f"{setting.directory}/", "-c", "nginx.conf", "-e", "error.log"], {}


def _haproxy(setting: Setting) -> Command:
    path = setting.material.path
    configuration = setting.write(
        "haproxy.cfg",
        f"""
global
  nbthread 1
  maxconn 4000
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{setting.http}
  bind 127.0.0.1:{setting.https} ssl crt {path("front.pem")} alpn http/1.1
  default_backend up
backend up
  server u 127.0.0.1:{setting.upstream_port} ssl crt {path("client.pem")} ca-file {path("ca.crt")} verify required \
sni str({SERVER_NAME}) verifyhost {SERVER_NAME} alpn http/1.1
""",
    )
    return ["-db", "-f", configuration], {}


def _envoy(setting: Setting) -> Command:
    configuration = setting.write(
        "envoy.json",
        {
            "static_resources": {
                "listeners": [_envoy_listener(setting, setting.http), _envoy_listener(setting, setting.https)],
                "clusters": [_envoy_cluster(setting)],
            }
        },
    )
    return ["-c", configuration, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"], {}


def _envoy_listener(setting: Setting, port: int) -> dict[str, Any]:
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    access_log = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    chain: dict[str, Any] = {
        "filters": [
            {
                "name": "http",
                "typed_config": {
                    "@type": manager,
                    "stat_prefix": "bench",
                    "codec_type": "HTTP1",
                    "use_remote_address": True,
                    "upgrade_configs": [{"upgrade_type": "websocket"}],
                    "access_log": [{"name": "file", "typed_config": {"@type": access_log, "path": "/dev/stdout"}}],
                    "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
                    "route_config": {
                        "virtual_hosts": [
                            {
                                "name": "bench",
                                "domains": ["*"],
                                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
                            }
                        ]
                    },
                },
            }
        ]
    }
    if port == setting.https:
        chain["transport_socket"] = _envoy_tls(
            "DownstreamTlsContext", {"tls_certificates": [_envoy_pair(setting.material, "front")]}
        )
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def _envoy_cluster(setting: Setting) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": setting.upstream_port}}
    name = {"san_type": "DNS", "matcher": {"exact": SERVER_NAME}}
    common = {
        "tls_certificates": [_envoy_pair(setting.material, "client")],
        "validation_context": {
            "trusted_ca": {"filename": setting.material.path("ca.crt")},
            "match_typed_subject_alt_names": [name],
        },
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    }
    return {
        "name": "up",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": _envoy_tls("UpstreamTlsContext", common, sni=SERVER_NAME),
    }


def _envoy_tls(kind: str, common: dict[str, Any], **more: str) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}",
            "common_tls_context": common,
            **more,
        },
    }


def _envoy_pair(material: Material, name: str) -> dict[str, Any]:
    return {
        "certificate_chain": {"filename": material.path(f"{name}.crt")},
        "private_key": {"filename": material.path(f"{name}.key")},
    }


def _caddy(setting: Setting) -> Command:
    path = setting.material.path
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{setting.upstream_port}"}],
        "transport": {
            "protocol": "http",
            "versions": ["1.1"],
            "keep_alive": {"max_idle_conns": 256, "max_idle_conns_per_host": 256},
            "tls": {
                "client_certificate_file": path("client.crt"),
                "client_certificate_key_file": path("client.key"),
                "ca": {"provider": "file", "pem_files": [path("ca.crt")]},
                "server_name": SERVER_NAME,
            },
        },
    }
    server = {
        "automatic_https": {"disable": True},
        "protocols": ["h1"],
        "logs": {},
        "routes": [{"handle": [proxy]}],
    }
    servers = {
        "http": {**server, "listen": [f"127.0.0.1:{setting.http}"]},
        "https": {
            **server,
            "listen": [f"127.0.0.1:{setting.https}"],
            # wrk names the address, which no certificate does.
            "tls_connection_policies": [{"default_sni": DOMAIN, "fallback_sni": DOMAIN}],
        },
    }
    certificates = {"load_files": [{"certificate": path("front.crt"), "key": path("front.key")}]}
    configuration = setting.write(
        "caddy.json",
        {
            "admin": {"disabled": True, "config": {"persist": False}},
            "apps": {"http": {"servers": servers, "metrics": {}}, "tls": {"certificates": certificates}},
        },
    )
    return ["run", "--config", configuration], {"GOMAXPROCS": "1"}


def _traefik(setting: Setting) -> Command:
    path = setting.material.path
    router = {"rule": "PathPrefix(`/`)", "service": "up"}
    dynamic = setting.write(
        "dynamic.yml",
        {
            "http": {
                "routers": {
                    "http": {**router, "entryPoints": ["http"]},
                    "https": {**router, "entryPoints": ["https"], "tls": {}},
                },
                "services": {
                    "up": {
                        "loadBalancer": {
                            "servers": [{"url": f"https://127.0.0.1:{setting.upstream_port}"}],
                            "serversTransport": "up",
                        }
                    }
                },
                "serversTransports": {
                    "up": {
                        "serverName": SERVER_NAME,
                        "rootCAs": [path("ca.crt")],
                        "certificates": [{"certFile": path("client.crt"), "keyFile": path("client.key")}],
                        "maxIdleConnsPerHost": 256,
                        "disableHTTP2": True,
                    }
                },
            },
            "tls": {"stores": {"default": {"defaultCertificate": _traefik_pair(setting.material, "front")}}},
        },
    )
    static = setting.write(
        "traefik.yml",
        {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "entryPoints": {
                "http": {"address": f"127.0.0.1:{setting.http}"},
                "https": {"address": f"127.0.0.1:{setting.https}"},
            },
            "providers": {"file": {"filename": dynamic, "watch": False}},
            "log": {"level": "ERROR"},
            "accessLog": {"filePath": str(setting.directory / "access.log")},
            "metrics": {"prometheus": {}},
        },
    )
    return [f"--configFile={static}"], {"GOMAXPROCS": "1"}


def _traefik_pair(material: Material, name: str) -> dict[str, str]:
    return {"certFile": material.path(f"{name}.crt"), "keyFile": material.path(f"{name}.key")}


_FOREIGN: dict[str, Callable[[Setting], Command]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "caddy": _caddy,
    "traefik": _traefik,
}

NAMES = (AEGIS, PURE, *_FOREIGN)
