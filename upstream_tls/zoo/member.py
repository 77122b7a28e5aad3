"""What a member of the zoo is.

Laws of this module: a member is broken in one way; `code` and `message` are what a test of it must say.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from upstream_tls.tls.spec import TLS_VERSIONS, UpstreamTLSSpec
from upstream_tls.zoo.pki import PKI, SERVER_NAME, Identity, pem
from upstream_tls.zoo.servers import Behaviour

ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One upstream, and a host's settings towards it.

    `code` is empty for a success. `*` in `message` stands for what differs from run to run (times, ports).
    `behaviour` makes what answers; None: nobody listens. `spec` makes the host's settings. `tls_versions` are those
    under which the outcome is the same. `takes_all_time`: the outcome is known only when the time is up.
    """

    name: str
    title: str
    code: str = ""
    message: str = ""
    behaviour: Callable[[PKI], Behaviour] | None
    spec: Callable[[PKI], UpstreamTLSSpec]
    tls_versions: tuple[str, ...] = TLS_VERSIONS
    confidence: Literal["certain", "likely"] = "certain"
    takes_all_time: bool = False
    address: str = ADDRESS

    def is_message(self, message: str) -> bool:
        """Whether `message` is the expected one."""
        return re.fullmatch(".*".join(map(re.escape, self.message.split("*"))), message) is not None


def settings(
    pki: PKI,
    *,
    client: Identity | None = None,
    ca: Identity | None = None,
    without_client: bool = False,
    **changes: object,
) -> UpstreamTLSSpec:
    """The settings that a good upstream needs, with these changes. `client` replaces the good client certificate."""
    identity = client or pki.client()
    values: dict[str, object] = {
        "ca_pem": pem((ca or pki.root).certificate),
        "server_name": SERVER_NAME,
        "client_chain_pem": b"" if without_client else identity.chain_pem,
        "client_key_pem": b"" if without_client else identity.key_pem,
    }
    return UpstreamTLSSpec(**{**values, **changes})  # type: ignore[arg-type]
