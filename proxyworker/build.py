"""From a snapshot entry to what traffic needs of it: TLS contexts, certificates, header rules.

Laws of this module:
- Slow (keys are parsed) and changes nothing that traffic uses: it runs off the reactor thread.
- What an entry contains is never an exception here. An entry that cannot be built keeps its host, which answers 502,
  with the reason; there is no laxer fallback. One whose certificate for clients cannot be used refuses HTTPS only.
- What is equal is kept once, and of an entry only what traffic needs: with 10 000 hosts, texts and objects that are
  equal or never looked at again would be most of the worker's memory.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeVar
from weakref import WeakValueDictionary

from proxyworker.net.server_certificate import ServerCertificate, server_certificate
from proxyworker.policy.forwarding import upstream_authority
from proxyworker.policy.header_rules import HeaderRules, RuleRefused, request_rules, response_rules
from proxyworker.snapshot import (
    HeaderRule,
    HostEntry,
    LoadedEntry,
    SnapshotError,
    Upstream,
    UpstreamTLS,
    decode_entry,
)
from upstream_tls.tls.context import ClientContext, SharedContexts
from upstream_tls.tls.credentials import CredentialProblem
from upstream_tls.tls.spec import UpstreamTLSSpec

T = TypeVar("T")

_contexts = SharedContexts()
_certificates: WeakValueDictionary[bytes, ServerCertificate] = WeakValueDictionary()
_NO_UPSTREAM_TLS = UpstreamTLS()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltHost:
    """An entry made ready. `entry` is None when the host is to be forgotten, or cannot even be read (`rejected`).

    The entry has no certificates any more: what was made of them is in `context` and `certificate`.
    `authorities` are the Host fields of its upstreams under their own names. `certificate` is what clients are shown,
    None: the default one; `https_rejected`: why they are shown none. `header_rules` are those for requests and those
    for responses. `client_not_after` is the end of the certificate that upstreams are shown, 0: none is.
    `verified` is the same host with its upstreams verified, which takes its place at `skip_verify_until` (seconds of
    Unix time); None: nothing ends.
    """

    host_id: str
    generation: int
    entry: HostEntry | None
    context: ClientContext | None = None
    authorities: tuple[bytes, ...] = ()
    rejected: str = ""
    certificate: ServerCertificate | None = None
    https_rejected: str = ""
    header_rules: tuple[HeaderRules | None, HeaderRules | None] = (None, None)
    client_not_after: float = 0.0
    skip_verify_until: float = 0.0
    verified: "BuiltHost | None" = None

    def at(self, unix_time: float) -> "BuiltHost":
        """What holds at that time."""
        return self if self.verified is None or unix_time < self.skip_verify_until else self.verified

    @property
    def reason(self) -> str:
        """What a worker reports of a host that it refuses, wholly or by HTTPS; empty: it refuses nothing."""
        return self.rejected or (f"HTTPS is refused: {self.https_rejected}" if self.https_rejected else "")


def build(loaded: LoadedEntry) -> BuiltHost:
    """Parses one entry and its credentials. Never raises for what the entry contains."""
    if not loaded.entry_json:
        return BuiltHost(host_id=loaded.host_id, generation=loaded.generation, entry=None)
    try:
        entry = decode_entry(loaded.entry_json)
    except SnapshotError as error:
        return BuiltHost(host_id=loaded.host_id, generation=loaded.generation, entry=None, rejected=str(error))
    certificate, https_rejected = _made(lambda: _certificate(entry, loaded))
    authorities, rejected_name = _made(lambda: tuple(_authority(entry, upstream) for upstream in entry.upstreams))
    rules, rejected_rule = _made(lambda: _header_rules(entry, loaded))
    rest = BuiltHost(
        host_id=loaded.host_id,
        generation=loaded.generation,
        entry=_without_certificates(entry),
        authorities=authorities or (),
        rejected=rejected_name or rejected_rule,
        certificate=certificate,
        https_rejected=https_rejected,
        header_rules=rules or (None, None),
    )
    return _with_identity(rest, entry, loaded)


def _with_identity(rest: BuiltHost, entry: HostEntry, loaded: LoadedEntry) -> BuiltHost:
    """The host with its TLS towards upstreams, and with what that becomes when an exception from verification ends."""
    tls = entry.upstream_tls
    context, rejected = _made(lambda: _context(entry, loaded))
    built = replace(
        rest, context=context, rejected=rejected or rest.rejected, client_not_after=_client_not_after(context)
    )
    if not (tls.skip_verify and tls.skip_verify_until):
        return built
    # Made now: at that moment keys may be out of reach, and the reactor thread must not wait for it.
    verified = replace(entry, upstream_tls=replace(tls, skip_verify=False, skip_verify_until=0.0))
    return replace(built, skip_verify_until=tls.skip_verify_until, verified=_with_identity(rest, verified, loaded))


def _without_certificates(entry: HostEntry) -> HostEntry:
    https = replace(entry.downstream_tls, certificate="", key_spki_sha256="")
    return replace(entry, upstream_tls=_NO_UPSTREAM_TLS, downstream_tls=https)


def _client_not_after(context: ClientContext | None) -> float:
    if context is None or not context.client_chain:
        return 0.0
    return context.client_chain[0].not_valid_after_utc.timestamp()


def _made(make: Callable[[], T]) -> tuple[T | None, str]:
    """What `make` returns, or why it cannot be made."""
    try:
        return make(), ""
    except CredentialProblem as problem:
        return None, f"{problem.code}: {problem.message}"
    except RuleRefused as refused:
        return None, str(refused)
    except Exception as error:  # noqa: BLE001 (a bad entry must not stop the others, whatever is wrong with it)
        return None, f"configuration cannot be used: {type(error).__name__}"


def _certificate(entry: HostEntry, loaded: LoadedEntry) -> ServerCertificate | None:
    chain_pem = entry.downstream_tls.certificate
    if not chain_pem:
        return None
    if loaded.open_downstream_key is None:
        raise CredentialProblem("key_missing", "the certificate for clients has no key")
    chain, key = chain_pem.encode(), loaded.open_downstream_key()
    # A wildcard's certificate may serve thousands of hosts. Two digests: nothing can move between chain and key.
    name = sha256(chain).digest() + sha256(key).digest()
    certificate = _certificates.get(name)
    if certificate is None:
        _certificates[name] = certificate = server_certificate(chain, key)
    return certificate


def _header_rules(entry: HostEntry, loaded: LoadedEntry) -> tuple[HeaderRules | None, HeaderRules | None]:
    values: dict[str, str] = {}
    if any(rule.secret for rule in (*entry.request_headers, *entry.response_headers)):
        if loaded.open_header_secrets is None:
            raise RuleRefused("a header rule has a secret value, which is missing")
        values = json.loads(loaded.open_header_secrets())
    return (
        request_rules([_with_value(rule, values) for rule in entry.request_headers]),
        response_rules([_with_value(rule, values) for rule in entry.response_headers]),
    )


def _with_value(rule: HeaderRule, values: Mapping[str, str]) -> HeaderRule:
    if not rule.secret:
        return rule
    if rule.secret not in values:
        raise RuleRefused(f"header rule for {rule.name} whose secret value is missing")
    return replace(rule, value=values[rule.secret])


def _context(entry: HostEntry, loaded: LoadedEntry) -> ClientContext | None:
    https = [upstream.address for upstream in entry.upstreams if upstream.scheme == "https"]
    if not https:
        return None
    context = _contexts.get(_spec(entry, loaded))
    for address in https:
        context.open(address)  # names that no session can be opened with must fail here, not under traffic
    return context


def _authority(entry: HostEntry, upstream: Upstream) -> bytes:
    return upstream_authority(
        scheme=upstream.scheme,
        address=upstream.address,
        port=upstream.port,
        server_name=entry.upstream_tls.server_name if upstream.scheme == "https" else "",
    )


def _spec(entry: HostEntry, loaded: LoadedEntry) -> UpstreamTLSSpec:
    tls = entry.upstream_tls
    key = b""
    if tls.client_certificate:
        if loaded.open_client_key is None:
            raise CredentialProblem("client_certificate_missing", "mTLS is on but no client key is configured")
        key = loaded.open_client_key()
    return UpstreamTLSSpec(
        client_chain_pem=tls.client_certificate.encode(),
        client_key_pem=key,
        ca_pem=tls.ca_certificate.encode(),
        skip_verify=tls.skip_verify,
        server_name=tls.server_name,
        verify_name=tls.verify_name,
        min_version=tls.min_version,
        max_version=tls.max_version,
        ciphers=tls.ciphers,
        alpn=tls.alpn,
        crl_pem=tls.crl.encode(),
        pinned_spki_sha256=tls.pinned_spki_sha256,
        verify_depth=tls.verify_depth,
    )
