"""What the demo is: an upstream that demands a client certificate, and the host that has one for it.

Laws of this module: names, paths and texts only, so that the supervising process may import it.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aegis_site.environment import BindAddress, Environment, EnvironmentProblem

# `.localhost` names are this machine without any configuration (RFC 6761 section 6.3).
DEMO_DOMAIN = "demo.localhost"
DEMO_HOST_NAME = "demo"
DEMO_SERVER_NAME = "demo-upstream.internal"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo of one data directory; its upstream listens on `address`. `has_zoo`: broken ones run as well."""

    data_dir: Path
    address: BindAddress
    has_zoo: bool = False

    @property
    def directory(self) -> Path:
        return self.data_dir / "demo"

    @property
    def ca_path(self) -> Path:
        """The CA certificate that verifies the upstream."""
        return self.directory / "ca.crt"

    @property
    def certificate_path(self) -> Path:
        return self.directory / "upstream.crt"

    @property
    def key_path(self) -> Path:
        return self.directory / "upstream.key"

    @property
    def client_ca_path(self) -> Path:
        """The CA certificate of the clients that the upstream lets in: Aegis's local CA."""
        return self.directory / "clients-ca.crt"

    def lines(self, environment: Environment) -> list[str]:
        """Two commands to try: through the proxy, and straight at the upstream without a certificate."""
        proxy = f"http://{open_listener(environment.proxy_http).url_host}/"
        upstream = f"https://{self.address.url_host}/"
        zoo = [
            "The zoo: in the admin, open a host named zoo-... and press Test Connection to see what it says.",
        ]
        return [
            "Through the proxy, which presents its certificate (200, and the subject that the upstream saw):",
            f"  curl -i -H 'Host: {DEMO_DOMAIN}' {proxy}",
            "Straight at the upstream, without a certificate (refused in the TLS handshake):",
            f"  curl -i --cacert {shlex.quote(str(self.ca_path))} {upstream}",
            *(zoo if self.has_zoo else ()),
        ]


def open_listener(listeners: Iterable[BindAddress]) -> BindAddress:
    """The first that takes a request from anybody on this machine, as curl sends it."""
    for bind in listeners:
        if not bind.proxy_protocol:
            return bind
    raise EnvironmentProblem("the demo needs an HTTP listener without proxy_protocol; set AEGIS_PROXY_HTTP")
