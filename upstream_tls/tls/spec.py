"""What is configured about TLS towards upstreams, as one frozen value.

Laws of this module: plain values only; the key never appears in a repr; no I/O.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTLSSpec:
    """The TLS identity of a host towards its upstreams, and what it demands of them.

    `client_chain_pem` holds the leaf first, then intermediates; empty: no certificate is presented.
    `client_key_pem` is the leaf's private key, unencrypted PEM; empty exactly when the chain is empty.
    `ca_pem` verifies the upstream; empty: the system trust store.
    `skip_verify` accepts any upstream certificate (development only).
    `server_name` is the SNI and the name checked against the upstream's certificate; empty: the upstream's address.
    """

    client_chain_pem: bytes = b""
    client_key_pem: bytes = field(default=b"", repr=False)
    ca_pem: bytes = b""
    skip_verify: bool = False
    server_name: str = ""
