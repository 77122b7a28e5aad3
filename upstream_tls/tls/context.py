"""The one builder: from an `UpstreamTLSSpec` to TLS sessions with upstreams.

Laws of this module:
- Traffic, WebSockets, health checks and connection tests open their sessions here and nowhere else.
- Verification fails closed: chain, name and pins are checked inside the handshake (`upstream_tls.tls.session`), and
  `confirm` refuses a session whose certificate never passed. Twisted's `optionsForClientTLS` lets certificates without
  a usable name pass and is not used (docs/adr/0003).
- One ClientContext per identity digest. Sessions are never resumed, so nothing of one identity reaches another.
- Equal specs share a context, and specs that differ in names only share all that is costly in one: OpenSSL's context,
  parsed certificates. What is shared is found by comparing whole specs, keys included, and lives as long as its users.
- What is seen of a session is described only when somebody asks why it failed, never for the traffic's sake.
"""

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from weakref import WeakValueDictionary

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509

from upstream_tls.tls.diagnosis import Diagnosis, diagnose
from upstream_tls.tls.evidence import ClientIdentity, Evidence, Stage, Suspect
from upstream_tls.tls.issuers import is_missing_intermediate
from upstream_tls.tls.material import (
    MAX_NAME_CHARACTERS,
    SpecProblem,
    check_names,
    client_chain,
    new_context,
    pins,
    trust_anchors,
)
from upstream_tls.tls.names import is_ip_address, is_uri
from upstream_tls.tls.peer import (
    acceptable_ca_names,
    accepted_by,
    authority_key_id,
    describe_presented,
    issuer_name,
    names_of,
    presented_chain,
    spki_sha256,
    subject_name,
)
from upstream_tls.tls.session import Policy, SessionState, find_name_problem, fingerprint
from upstream_tls.tls.spec import UpstreamTLSSpec

# RFC 8446 section 5.1: change_cipher_spec, alert, handshake, application_data; then the major version, which is 3.
_TLS_CONTENT_TYPES = frozenset((20, 21, 22, 23))
_TLS_MAJOR_VERSION = 3

# X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE (openssl/x509_vfy.h).
_ISSUER_UNKNOWN = (20, 21)


# What Aegis speaks to upstreams; empty: the upstream chose nothing. One that chose something else would not understand
# the request.
_SPOKEN_ALPN = frozenset((b"", b"http/1.1", b"http/1.0"))


class PeerRefused(Exception):
    """The upstream chose a protocol that Aegis does not speak, or its certificate never passed (never expected)."""


def identity_digest(spec: UpstreamTLSSpec) -> str:
    """sha256 over all that makes one identity different from another, in hex.

    Every field of the spec takes part but the key, which counts through its certificate: a fingerprint of a private key
    would travel through logs and metrics.
    """
    public = astuple(replace(spec, client_key_pem=b""))
    return hashlib.sha256(repr(public).encode()).hexdigest()


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class Credentials:
    """What contexts have in common whose specs differ in names only; `spec` is without names."""

    spec: UpstreamTLSSpec
    anchors: tuple[X509, ...]
    chain: tuple[x509.Certificate, ...]
    policy: Policy
    context: SSL.Context

    def is_current(self) -> bool:
        """Whether it trusts what its spec means now: the system's trust store may have changed."""
        return bool(self.spec.ca_pem) or self.anchors is trust_anchors(self.spec)


class ClientContext:
    """TLS sessions under one identity. Immutable; sessions are memory BIOs that the caller pumps."""

    __slots__ = ("__weakref__", "credentials", "digest", "spec")

    def __init__(self, spec: UpstreamTLSSpec, credentials: Credentials) -> None:
        # The texts are the shared ones: a chain in PEM takes more memory than all the rest of this object.
        self.spec = replace(credentials.spec, server_name=spec.server_name, verify_name=spec.verify_name)
        self.credentials = credentials
        self.digest = identity_digest(spec)

    @property
    def client_chain(self) -> tuple[x509.Certificate, ...]:
        """The chain that is presented, leaf first; empty: none is."""
        return self.credentials.chain

    def server_name(self, address: str) -> str:
        """The SNI sent to the upstream at `address`; empty: none, because RFC 6066 section 3 permits no IP literals."""
        name = (self.spec.server_name or address).rstrip(".")
        return "" if is_ip_address(name) else name

    def open(self, address: str) -> SSL.Connection:
        """A session with the upstream at `address`, in the client's role, before its handshake.

        Raises SpecProblem when there is no such name.
        """
        session = SSL.Connection(self.credentials.context, None)
        expected_name = self.spec.verify_name or self.spec.server_name or address
        session.set_app_data(SessionState(self.credentials.policy, expected_name.rstrip(".")))
        if name := self.server_name(address):
            if not name.isascii() or len(name) > MAX_NAME_CHARACTERS:  # pyOpenSSL would quietly send none
                raise SpecProblem("bad_name", "This is not a name that TLS can send.", "server_name")
            session.set_tlsext_host_name(name.encode("ascii"))
        session.set_connect_state()
        return session

    def confirm(self, session: SSL.Connection) -> None:
        """Called once when the handshake has finished, before anything is sent. Raises PeerRefused."""
        state: SessionState = session.get_app_data()
        if not state.is_accepted:
            raise PeerRefused("the upstream's certificate was not checked")
        if _unspoken_protocol(session):
            raise PeerRefused("the upstream chose a protocol that Aegis does not speak")

    def explain(
        self,
        session: SSL.Connection,
        *,
        first_bytes: bytes,
        peer_closed: bool,
        errno: int | None = None,
        address: str = "",
        is_established: bool = False,
        has_answered: bool = False,
    ) -> Diagnosis:
        """Why a session failed. `first_bytes`: the beginning of what the upstream sent; at least one byte of it.

        `errno`: how the connection at `address` (with its port) broke off; None: it did not, or was closed in order.
        `is_established`: the handshake had finished. `has_answered`: the upstream had answered a request before.
        """
        seen = self.evidence(session, first_bytes=first_bytes, peer_closed=peer_closed, is_established=is_established)
        return diagnose(replace(seen, errno=errno, address=address, has_answered=has_answered))

    def evidence(
        self,
        session: SSL.Connection,
        *,
        first_bytes: bytes,
        peer_closed: bool,
        is_established: bool,
        known: Iterable[x509.Certificate] = (),
    ) -> Evidence:
        """All that was seen of a session; arguments as of `explain`. `known`: certificates that may be issuers."""
        state: SessionState = session.get_app_data()
        presented = presented_chain(session)
        leaf = _parsed(presented[0]) if presented else None
        name_problem = state.name_problem
        if presented and self.spec.skip_verify:
            name_problem = find_name_problem(presented[0], state.expected_name)  # nobody had to know so far
        acceptable = acceptable_ca_names(session) if state.certificate_requested else ()
        return Evidence(
            stage=Stage.HTTP if is_established else Stage.TLS,
            now=datetime.datetime.now(datetime.UTC),
            verify_code=state.verify_code,
            depth=state.depth,
            suspect=_suspect(presented[0] if state.is_pin_mismatch and presented else state.suspect),
            is_system_trust=not self.spec.ca_pem,
            is_skipped=self.spec.skip_verify,
            is_missing_intermediate=(
                leaf is not None
                and len(presented) == 1
                and state.verify_code in _ISSUER_UNKNOWN
                and self._is_missing_intermediate(leaf, known)
            ),
            name_problem=name_problem,
            names=_names(leaf, state.expected_name) if name_problem else (),
            dns_names=names_of(leaf, x509.DNSName) if leaf is not None and name_problem else (),
            expected_name=state.expected_name,
            is_verify_name=bool(self.spec.verify_name),
            is_pin_mismatch=state.is_pin_mismatch,
            pins=self.spec.pinned_spki_sha256,
            alert_read=state.alert_read,
            alert_written=state.alert_written,
            looks_like_tls=_looks_like_tls(first_bytes),
            is_established=is_established,
            alpn=_unspoken_protocol(session),
            peer_closed=peer_closed,
            client=self.client_identity(acceptable),
            client_certificate_requested=state.certificate_requested,
            client_certificate_sent=state.certificate_sent,
            acceptable_ca_names=acceptable,
        )

    def client_identity(self, acceptable: tuple[str, ...] = ()) -> ClientIdentity | None:
        """Whose certificate is presented to an upstream that accepts these CAs; None: none is."""
        if not self.credentials.chain:
            return None
        return ClientIdentity(
            subject=subject_name(self.credentials.chain[0]),
            issuer=issuer_name(self.credentials.chain[0]),
            not_after=self.credentials.chain[0].not_valid_after_utc,
            is_acceptable=accepted_by(acceptable, self.credentials.chain),
        )

    def _is_missing_intermediate(self, leaf: x509.Certificate, known: Iterable[x509.Certificate]) -> bool:
        return is_missing_intermediate(
            leaf,
            anchors=self.credentials.anchors,
            known=(*self.credentials.chain[1:], *known),
            is_system_trust=not self.spec.ca_pem,
        )


def build_context(spec: UpstreamTLSSpec) -> ClientContext:
    """The context of an identity; parses keys and certificates, so it takes milliseconds.

    Raises SpecProblem, a CredentialProblem, when no session can be opened with the spec.
    """
    check_names(spec)
    return ClientContext(spec, _load(_without_names(spec)))


class SharedContexts:
    """Contexts by spec, for whoever has thousands of them. Used by one thread at a time; `len`: how many live."""

    def __init__(self) -> None:
        self._contexts: WeakValueDictionary[UpstreamTLSSpec, ClientContext] = WeakValueDictionary()
        self._credentials: WeakValueDictionary[UpstreamTLSSpec, Credentials] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._contexts)

    def get(self, spec: UpstreamTLSSpec) -> ClientContext:
        """As `build_context`, which it saves where there is one already. A few microseconds then."""
        context = self._contexts.get(spec)
        if context is None or not context.credentials.is_current():
            check_names(spec)
            context = ClientContext(spec, self._shared(_without_names(spec)))
            self._contexts[context.spec] = context
        return context

    def _shared(self, spec: UpstreamTLSSpec) -> Credentials:
        credentials = self._credentials.get(spec)
        if credentials is None or not credentials.is_current():
            self._credentials[spec] = credentials = _load(spec)
        return credentials


def _without_names(spec: UpstreamTLSSpec) -> UpstreamTLSSpec:
    return replace(spec, server_name="", verify_name="")


def _load(spec: UpstreamTLSSpec) -> Credentials:
    anchors = trust_anchors(spec)
    return Credentials(
        spec=spec,
        anchors=anchors,
        chain=client_chain(spec),
        policy=Policy(
            skip_verify=spec.skip_verify,
            pins=pins(spec),
            anchor_digests=frozenset(map(fingerprint, anchors)) if spec.crl_pem else frozenset(),
        ),
        context=new_context(spec, anchors),
    )


def _unspoken_protocol(session: SSL.Connection) -> str:
    chosen = session.get_alpn_proto_negotiated()
    return "" if chosen in _SPOKEN_ALPN else chosen.decode("ascii", "replace")


def _looks_like_tls(first_bytes: bytes) -> bool:
    if not first_bytes:
        return True
    return first_bytes[0] in _TLS_CONTENT_TYPES and (len(first_bytes) < 2 or first_bytes[1] == _TLS_MAJOR_VERSION)


def _parsed(certificate: X509) -> x509.Certificate | None:
    try:
        return certificate.to_cryptography()
    except ValueError:
        return None  # OpenSSL accepts certificates that cryptography cannot read


def _suspect(certificate: X509 | None) -> Suspect | None:
    if certificate is None:
        return None
    facts = describe_presented(certificate)
    parsed = _parsed(certificate)
    return Suspect(
        subject=facts.subject,
        issuer=facts.issuer,
        issuer_key_id="" if parsed is None else authority_key_id(parsed),
        not_before=facts.not_before,
        not_after=facts.not_after,
        fingerprint_sha256=facts.fingerprint_sha256,
        spki_sha256="" if parsed is None else spki_sha256(parsed),
    )


def _names(leaf: x509.Certificate | None, expected_name: str) -> tuple[str, ...]:
    """The names of the certificate that are of the expected one's kind."""
    if leaf is None:
        return ()
    if is_uri(expected_name):
        return names_of(leaf, x509.UniformResourceIdentifier)
    return names_of(leaf, x509.IPAddress if is_ip_address(expected_name) else x509.DNSName)
