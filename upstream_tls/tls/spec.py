"""What is configured about TLS towards upstreams, as one frozen value.

Laws of this module: plain values only; the key never appears in a repr; no I/O.
"""

from dataclasses import dataclass, field

TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTLSSpec:
    """The TLS identity of a host towards its upstreams, and what it demands of them.

    `client_chain_pem` holds the leaf first, then intermediates; empty: no certificate is presented.
    `client_key_pem` is the leaf's private key, unencrypted PEM; empty exactly when the chain is empty.
    `ca_pem` verifies the upstream; empty: the system trust store.
    `skip_verify` accepts any upstream certificate (development only); pins still hold, CRLs and names do not count.
    `server_name` is the SNI; empty: the upstream's address. An IP address is never sent as SNI.
    `verify_name` is the name checked against the upstream's certificate: a DNS name, an IP address, or a URI such as
    `spiffe://example.org/orders`. Empty: `server_name`, then the upstream's address.
    `min_version`, `max_version` are of TLS_VERSIONS.
    `ciphers` is an OpenSSL cipher list for TLS 1.2; empty: OpenSSL's default. TLS 1.3 has its own suites, all good.
    `alpn` are the protocols offered, the preferred first; empty: the extension is not sent.
    `crl_pem` holds revocation lists. When there is one, every certificate of the upstream's chain needs the list of its
    issuer, and a missing or expired list is a refusal.
    `pinned_spki_sha256` are sha256 digests of SubjectPublicKeyInfo in lower-case hex; one certificate of the chain
    must match one of them, and under `skip_verify` the upstream's own (`upstream_tls.tls.session` says why). Empty: no
    pinning.
    `verify_depth` is how many intermediates may stand between the upstream's certificate and the trusted one.
    """

    client_chain_pem: bytes = b""
    client_key_pem: bytes = field(default=b"", repr=False)
    ca_pem: bytes = b""
    skip_verify: bool = False
    server_name: str = ""
    verify_name: str = ""
    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.3"
    ciphers: str = ""
    alpn: tuple[str, ...] = ("http/1.1",)
    crl_pem: bytes = b""
    pinned_spki_sha256: tuple[str, ...] = ()
    verify_depth: int | None = None
