"""What an upstream must know of a host to admit its client certificate and no other.

Laws of this module:
- Nothing secret: certificates, their fingerprints, ports and names.
- Whatever leaves here may stand bare in any configuration language: numbers, hexadecimal digits, host names and file
  names of `[a-z0-9._-]`, and one line of printable text for a comment. What operators call a host is the only free
  text, and it never becomes anything but a comment or, reduced to those characters, a file name.
"""

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.utils.text import slugify

from aegis_site.kernel.certificates import CertificateFacts, describe
from hosts.models import Host, Scheme
from localca.bundle import CERTIFICATE_FILE
from localca.models import CertificateAuthority
from localca.selectors import trust_anchors_pem
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.tls.chain import is_issued_by, is_self_signed
from upstream_tls.tls.credentials import chain_to_pem, parse_ca_bundle, parse_chain

MAX_SLUG_CHARACTERS = 40
DEFAULT_PORT = 443

# Configuration files name hosts by labels of letters, digits and hyphens; some networks also use the underscore.
_HOST_NAME = re.compile(r"(?=.*[a-z])[a-z0-9_-]+(\.[a-z0-9_-]+)*")

_PARENTHESES = str.maketrans("{}", "()")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamFile:
    """A file to install on the upstream. `text` is PEM; empty when Aegis does not have it, and `note` says who does."""

    file_name: str
    title: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One host's client certificate, and where the host expects its upstreams.

    `ports` are those of the https upstreams, at least one. `names` are the DNS names that the upstreams are asked for.
    `verify_depth` is how many certificates may stand between the client's and the trusted CA, at least 1.
    """

    host_name: str
    slug: str
    ports: tuple[int, ...]
    names: tuple[str, ...]
    facts: CertificateFacts
    fingerprint_sha1: str
    verify_depth: int
    ca: UpstreamFile
    leaf: UpstreamFile


def identity_of(host: Host) -> Identity | None:
    """The identity that a host presents, or would when mTLS were on; None without a client certificate.

    One query besides those that `with_configuration` saves.
    """
    configuration = host.upstream_configuration
    if not configuration.client_certificate:
        return None
    chain = parse_chain(configuration.client_certificate.encode("ascii"))
    upstreams = [upstream for upstream in host.upstreams.all() if upstream.scheme == Scheme.HTTPS]
    asked_names = [configuration.server_name or upstream.address for upstream in upstreams]
    slug = slug_of(host)
    return Identity(
        host_name=_comment(host.name),
        slug=slug,
        ports=tuple(dict.fromkeys(upstream.port for upstream in upstreams)) or (DEFAULT_PORT,),
        names=tuple(dict.fromkeys(name for name in asked_names if _HOST_NAME.fullmatch(name))),
        facts=describe(chain[0]),
        fingerprint_sha1=chain[0].fingerprint(hashes.SHA1()).hex(),  # noqa: S303 (nginx computes no other)
        verify_depth=len(chain),
        ca=_ca_file(configuration, chain[-1], slug),
        leaf=UpstreamFile(file_name=f"{slug}-client.crt", title="Client certificate", text=chain_to_pem(chain[:1])),
    )


def slug_of(host: Host) -> str:
    """The host's name in characters that every file system and configuration language takes; unique among hosts."""
    slug = slugify(host.name).replace("_", "-")[:MAX_SLUG_CHARACTERS].strip("-")
    return slug if slug == host.name else f"{slug or 'host'}-{host.pk.hex[:8]}"


def _comment(text: str) -> str:
    """One line of printable text in quotes.

    Every kind of line end is a space: a comment must not end before its line does. The closing quote keeps a backslash
    from the end of the line, where Apache would take the next line for the comment's. Braces are parentheses: Traefik
    expands `{{…}}` and Caddy `{$…}` before they know what a comment is.
    """
    line = "".join(character if character.isprintable() else " " for character in text)
    return f'"{line.translate(_PARENTHESES)}"'


def _ca_file(configuration: UpstreamTLSConfiguration, top: x509.Certificate, slug: str) -> UpstreamFile:
    """The trust anchor above `top`: the local CA, a CA that the host has for its upstreams, or who must be asked."""
    for authority in CertificateAuthority.objects.with_path():
        if is_issued_by(top, authority.certificate):
            # The file of the trust bundle, so that neither overwrites the other with less: both roots in a change.
            is_trusted = authority.root.retired_at is None
            text = trust_anchors_pem() if is_trusted else authority.root.certificate_pem
            return UpstreamFile(file_name=CERTIFICATE_FILE, title="Aegis's local CA", text=text)
    file_name, title = f"{slug}-client-ca.crt", "CA of the client certificate"
    # A self-signed client certificate is its own anchor; and one private CA often serves both directions.
    bundle = parse_ca_bundle(configuration.ca_certificate.encode("ascii")) if configuration.ca_certificate else ()
    for candidate in (top, *bundle):
        if is_issued_by(top, candidate) and is_self_signed(candidate):
            return UpstreamFile(file_name=file_name, title=title, text=chain_to_pem((candidate,)))
    issuer = _comment(describe(top).issuer)
    note = (
        f"Get the root certificate above {issuer} from whoever issued the client certificate: Aegis does not have it."
    )
    return UpstreamFile(file_name=file_name, title=title, text="", note=note)
