"""From the values of a spec to an OpenSSL context: everything that can be refused is refused here, with its field.

Laws of this module: called once per identity, never per connection; whatever the spec holds, the outcome is a context
or a SpecProblem; OpenSSL's texts go no further.
"""

import contextlib
import functools
import re
from collections.abc import Iterator

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from OpenSSL.crypto import Error as CryptoError

from upstream_tls.tls.ciphers import UnusableCiphers, check_ciphers
from upstream_tls.tls.credentials import PrivateKey, check_pair, parse_ca_bundle, parse_chain, parse_key
from upstream_tls.tls.crl import parse_crls
from upstream_tls.tls.names import is_uri
from upstream_tls.tls.pem import CredentialProblem
from upstream_tls.tls.session import note_event, verify
from upstream_tls.tls.spec import TLS_VERSIONS, UpstreamTLSSpec
from upstream_tls.tls.traits import has_weak_key
from upstream_tls.tls.trust import system_trust_anchors

# SSL_MODE_ENABLE_PARTIAL_WRITE (openssl/ssl.h), which pyOpenSSL sets: without it one send takes all it is given.
_MODE_PARTIAL_WRITE = 0x1

_VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}

# RFC 1035 section 2.3.4.
MAX_NAME_CHARACTERS = 253

# OpenSSL's own limit (X509_VERIFY_PARAM) is 100.
MAX_VERIFY_DEPTH = 100

_PIN = re.compile(r"[0-9a-f]{64}")


class SpecProblem(CredentialProblem):
    """A configuration that no session can be opened with. `field` is the API's name of what to change."""

    def __init__(self, code: str, message: str, field: str) -> None:
        super().__init__(code, message)
        self.field = field


def memory_bio_context(method: int) -> SSL.Context:
    """A context for sessions over memory BIOs in either role, before it has an identity.

    One send takes all it is given, idle sessions hold no buffers, and nothing is renegotiated: that would turn a write
    into a wait (RFC 9325 section 3.5).
    """
    context = SSL.Context(method)
    context.clear_mode(_MODE_PARTIAL_WRITE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    return context


def use_pair(context: SSL.Context, chain: tuple[x509.Certificate, ...], key: PrivateKey) -> None:
    """Has `context` present this chain, leaf first. Raises CredentialProblem for what OpenSSL does not take."""
    try:
        context.use_certificate(chain[0])
        for intermediate in chain[1:]:
            context.add_extra_chain_cert(intermediate)
        context.use_privatekey(key)
    except (SSL.Error, CryptoError, ValueError) as error:
        raise CredentialProblem("bad_pem", "OpenSSL does not take this certificate.") from error


def new_context(spec: UpstreamTLSSpec, anchors: tuple[X509, ...]) -> SSL.Context:
    """The OpenSSL context of a spec, trusting `anchors`; its names play no part in it. Raises SpecProblem."""
    context = memory_bio_context(SSL.TLS_CLIENT_METHOD)
    # Sessions are never resumed, so none is kept.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_info_callback(note_event)
    _set_versions(context, spec)
    _set_ciphers(context, spec)
    _set_alpn(context, spec)
    _set_client_certificate(context, spec)
    _set_trust(context, spec, anchors)
    context.set_verify(SSL.VERIFY_PEER, verify)
    return context


def trust_anchors(spec: UpstreamTLSSpec) -> tuple[X509, ...]:
    """What verifies the upstream: the configured CAs, or the system's. Raises SpecProblem."""
    if not spec.ca_pem:
        return system_trust_anchors()
    with problems_of("ca_certificate"):
        return _bundle(spec.ca_pem)


@functools.lru_cache(maxsize=16)
def _bundle(ca_pem: bytes) -> tuple[X509, ...]:
    """Shared like the system's: of thousands of hosts with certificates of their own, most trust the same CAs."""
    return tuple(X509.from_cryptography(certificate) for certificate in parse_ca_bundle(ca_pem))


def client_chain(spec: UpstreamTLSSpec) -> tuple[x509.Certificate, ...]:
    """Our chain, leaf first; empty: none is presented. Raises SpecProblem."""
    if not spec.client_chain_pem:
        return ()
    with problems_of("client_certificate"):
        return parse_chain(spec.client_chain_pem)


def pins(spec: UpstreamTLSSpec) -> frozenset[str]:
    """The pins as they are compared. Raises SpecProblem."""
    for pin in spec.pinned_spki_sha256:
        if not _PIN.fullmatch(pin):
            raise SpecProblem("bad_pin", "A pin is a SHA-256 in 64 lower-case hex digits.", "pinned_spki_sha256")
    return frozenset(spec.pinned_spki_sha256)


def check_names(spec: UpstreamTLSSpec) -> None:
    """Raises SpecProblem for a name that can be neither sent nor compared."""
    for field, name in (("server_name", spec.server_name), ("verify_name", spec.verify_name)):
        is_plain = name.isascii() and name.isprintable() and " " not in name
        if (
            not is_plain
            or (len(name) > MAX_NAME_CHARACTERS and not is_uri(name))
            or (field == "server_name" and is_uri(name))
        ):
            raise SpecProblem("bad_name", "This is not a name that a certificate can hold.", field)


@contextlib.contextmanager
def problems_of(field: str) -> Iterator[None]:
    """Problems with credentials get the field that they came from."""
    try:
        yield
    except SpecProblem:
        raise
    except CredentialProblem as problem:
        raise SpecProblem(problem.code, problem.message, field) from problem


def _set_versions(context: SSL.Context, spec: UpstreamTLSSpec) -> None:
    for field, version in (("min_version", spec.min_version), ("max_version", spec.max_version)):
        if version not in _VERSIONS:
            raise SpecProblem("bad_tls_version", f"The TLS version is one of {', '.join(TLS_VERSIONS)}.", field)
    if _VERSIONS[spec.min_version] > _VERSIONS[spec.max_version]:
        raise SpecProblem("bad_tls_version", "The lowest TLS version is above the highest.", "min_version")
    context.set_min_proto_version(_VERSIONS[spec.min_version])
    context.set_max_proto_version(_VERSIONS[spec.max_version])


def _set_ciphers(context: SSL.Context, spec: UpstreamTLSSpec) -> None:
    if not spec.ciphers:
        return
    try:
        check_ciphers(spec.ciphers)
        context.set_cipher_list(spec.ciphers.encode("ascii"))
    except (UnusableCiphers, SSL.Error) as error:
        raise SpecProblem("bad_ciphers", str(error), "ciphers") from error


def _set_alpn(context: SSL.Context, spec: UpstreamTLSSpec) -> None:
    """RFC 7301 section 3.1: each protocol is 1 to 255 bytes."""
    if not spec.alpn:
        return
    if not all(protocol.isascii() and protocol.isprintable() and 0 < len(protocol) < 256 for protocol in spec.alpn):
        raise SpecProblem("bad_alpn", "An ALPN protocol is a short name such as http/1.1.", "alpn")
    context.set_alpn_protos([protocol.encode("ascii") for protocol in spec.alpn])


def _set_client_certificate(context: SSL.Context, spec: UpstreamTLSSpec) -> None:
    chain = client_chain(spec)
    if not chain and not spec.client_key_pem:
        return
    if not chain:
        raise SpecProblem(
            "client_certificate_missing", "mTLS is on but no client certificate is configured", "client_certificate"
        )
    if not spec.client_key_pem:
        raise SpecProblem("client_certificate_missing", "mTLS is on but no client key is configured", "client_key")
    with problems_of("client_key"):
        key = parse_key(spec.client_key_pem)
        check_pair(chain, key)
    if any(has_weak_key(certificate) for certificate in chain):
        # OpenSSL would find that out in the handshake, and say "internal error" to the upstream.
        raise SpecProblem("weak_key", "A key in this chain is too weak for TLS.", "client_certificate")
    with problems_of("client_certificate"):
        use_pair(context, chain, key)


def _set_trust(context: SSL.Context, spec: UpstreamTLSSpec, anchors: tuple[X509, ...]) -> None:
    store = context.get_cert_store()
    assert store is not None  # noqa: S101 (an SSL_CTX always has one)
    for anchor in anchors:
        store.add_cert(anchor)
    # A configured CA is trusted as it stands, also when it is an intermediate or the upstream's own certificate.
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    if spec.verify_depth is not None:
        if not 0 <= spec.verify_depth <= MAX_VERIFY_DEPTH:
            text = f"The verify depth is between 0 and {MAX_VERIFY_DEPTH}."
            raise SpecProblem("bad_verify_depth", text, "verify_depth")
        context.set_verify_depth(spec.verify_depth)
    if spec.crl_pem:
        with problems_of("crl"):
            for crl in parse_crls(spec.crl_pem):
                store.add_crl(crl)
        store.set_flags(X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL)
