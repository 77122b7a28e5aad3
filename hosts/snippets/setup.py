"""The configuration of each server that Aegis knows, filled in for one host.

Laws of this module: every value in a template is one that `hosts.snippets.identity` calls safe to stand bare, so
templates need no escaping; a snippet refuses whoever does not prove to be the host, it never merely reports it.
"""

from dataclasses import dataclass

from django.template.loader import render_to_string

from aegis_site.kernel.certificates import CertificateFacts
from hosts.models import Host, Scheme
from hosts.snippets.identity import Identity, UpstreamFile, identity_of

RENEWAL = "At a renewal, add the new one before Aegis gets it, and remove the old one after."


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Configuration for one server. `server` is stable; `pinned_by` says how it tells this identity from others."""

    server: str
    title: str
    file_name: str
    text: str
    pinned_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSetup:
    """All that the operator of an upstream needs. `notes` are what stands in the way or must be known."""

    facts: CertificateFacts
    files: tuple[UpstreamFile, ...]
    snippets: tuple[Snippet, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """A server that Aegis knows. `file_name` takes the host's slug; `serves_one_port`: the others need a copy each."""

    key: str
    title: str
    file_name: str
    pinned_by: str
    serves_one_port: bool = False


_SERVERS = (
    _Server(
        key="nginx",
        title="nginx",
        file_name="/etc/nginx/conf.d/aegis-{slug}.conf",
        pinned_by="SHA-1 fingerprint, behind the CA's signature. No certificate: 400; another one: 403.",
    ),
    _Server(
        key="haproxy",
        title="HAProxy",
        file_name="/etc/haproxy/haproxy.cfg",
        pinned_by="SHA-256 fingerprint. No certificate: the handshake fails; another one: 403.",
    ),
    _Server(
        key="caddy",
        title="Caddy",
        file_name="/etc/caddy/Caddyfile",
        pinned_by="The certificate itself, as a file. Anything else: the handshake fails.",
    ),
    _Server(
        key="apache",
        title="Apache httpd",
        file_name="/etc/apache2/sites-available/aegis-{slug}.conf",
        pinned_by="Serial number, behind the CA's signature. No certificate: the handshake fails; another one: 403.",
    ),
    _Server(
        key="envoy",
        title="Envoy",
        file_name="/etc/envoy/envoy.yaml",
        pinned_by="SHA-256 fingerprint. Anything else: the handshake fails.",
    ),
    _Server(
        key="traefik",
        title="Traefik",
        file_name="/etc/traefik/dynamic/aegis-{slug}.yaml",
        pinned_by="The certificate itself, as the only trust anchor. Anything else: the handshake fails.",
        serves_one_port=True,
    ),
    _Server(
        key="node",
        title="Node.js",
        file_name="server.js",
        pinned_by="SHA-256 fingerprint. No certificate: the handshake fails; another one: the connection is closed.",
    ),
    _Server(
        key="go",
        title="Go",
        file_name="main.go",
        pinned_by="SHA-256 fingerprint. Anything else: the handshake fails.",
        serves_one_port=True,
    ),
    _Server(
        key="python",
        title="Python",
        file_name="server.py",
        pinned_by="SHA-256 fingerprint. No certificate: the handshake fails; another one: the connection is closed.",
        serves_one_port=True,
    ),
)


def snippets_for(host: Host) -> tuple[Snippet, ...]:
    """One snippet per server; none when the host has no client certificate. One query, as `identity_of`."""
    identity = identity_of(host)
    return _snippets(identity) if identity else ()


def setup_for(host: Host) -> UpstreamSetup | None:
    """Files, snippets and notes; None when the host has no client certificate. One query, as `identity_of`."""
    identity = identity_of(host)
    if identity is None:
        return None
    return UpstreamSetup(
        facts=identity.facts,
        files=(identity.ca, identity.leaf),
        snippets=_snippets(identity),
        notes=tuple(_notes(host, identity)),
    )


def _snippets(identity: Identity) -> tuple[Snippet, ...]:
    return tuple(_snippet(server, identity) for server in _SERVERS)


def _snippet(server: _Server, identity: Identity) -> Snippet:
    file_name = server.file_name.format(slug=identity.slug)
    about = f"Admits the client certificate of the Aegis host {identity.host_name} and no other."
    if server.serves_one_port and len(identity.ports) > 1:
        about += f" The other ports ({', '.join(map(str, identity.ports[1:]))}) need a copy each."
    context = {
        "about": about,
        "file_name": file_name,
        "renewal": RENEWAL,
        "slug": identity.slug,
        "variable": identity.slug.replace("-", "_"),
        "port": identity.ports[0],
        "ports": identity.ports,
        "port_list": ", ".join(map(str, identity.ports)),
        "names": " ".join(identity.names),
        "first_name": identity.names[0] if identity.names else "",
        "ca_file": identity.ca.file_name,
        "leaf_file": identity.leaf.file_name,
        "depth": identity.verify_depth,
        "serial": identity.facts.serial_number.upper(),
        "sha1": identity.fingerprint_sha1,
        "sha256": identity.facts.fingerprint_sha256,
        "sha256_colons": _colons(identity.facts.fingerprint_sha256),
    }
    return Snippet(
        server=server.key,
        title=server.title,
        file_name=file_name,
        text=render_to_string(f"hosts/snippets/{server.key}.txt", context).strip() + "\n",
        pinned_by=server.pinned_by,
    )


def _colons(fingerprint: str) -> str:
    """`AB:CD:…`, as Node writes fingerprints."""
    return ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()


def _notes(host: Host, identity: Identity) -> list[str]:
    notes = []
    if not host.upstream_tls.enabled:
        notes.append("mTLS is off for this host: enable it, or these upstreams will refuse it.")
    if not any(upstream.scheme == Scheme.HTTPS for upstream in host.upstreams.all()):
        notes.append(f"This host has no https upstream: port {identity.ports[0]} stands in for it.")
    if identity.ca.note:
        notes.append(identity.ca.note)
    return notes
