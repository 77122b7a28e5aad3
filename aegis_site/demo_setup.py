"""Makes what the demo needs: the upstream's own CA and certificate, and the host that is wired to it.

Laws of this module: idempotent; the host is made and changed through `hosts.services`, as any other; the demo CA's key
is forgotten once it has signed.
"""

import datetime
import ipaddress
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.conf import settings
from django.utils import timezone

from aegis_site.demo import DEMO_DOMAIN, DEMO_HOST_NAME, DEMO_SERVER_NAME, Demo
from aegis_site.environment import BindAddress
from aegis_site.listeners import listening_socket
from hosts.models import Host
from hosts.services import create_host, install_issued_certificate, update_host
from hosts.specs import HostSpec, UpstreamSpec
from localca import profiles
from localca.keys import generate_key, key_to_pem
from localca.selectors import active_authority, trust_anchors_pem
from upstream_tls.changes import UpstreamTLSChanges

# A certificate that is about to expire is replaced at the next start.
RENEW_BEFORE = datetime.timedelta(days=30)


@contextmanager
def nobody_listens_yet() -> Iterator[None]:
    """What is published in the block is heard by no worker, which is as it should be: they read it when they start."""
    logger = logging.getLogger("hosts.publish")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def set_up_demo() -> Demo:
    """The demo of this data directory, ready to be started. Raises EnvironmentProblem, OSError, ValidationError."""
    host = Host.objects.filter(domains__name=DEMO_DOMAIN).first()
    demo = Demo(settings.AEGIS_DATA_DIR, _address(host))
    demo.directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_good_until_later(demo.certificate_path):
        _make_certificates(demo)
    authority = active_authority()
    assert authority is not None  # noqa: S101 (the first-run steps have made it)
    demo.client_ca_path.write_text(trust_anchors_pem(), encoding="ascii")
    _wire_host(demo, host, issuer=authority.certificate.subject)
    return demo


def _address(host: Host | None) -> BindAddress:
    """Where the upstream listens: as configured, else where it did the last time, else on any free port."""
    if configured := os.environ.get("AEGIS_DEMO_UPSTREAM"):
        return BindAddress.parse(configured, variable="AEGIS_DEMO_UPSTREAM")
    last = host.upstreams.first() if host else None
    for port in [last.port] if last else []:
        with suppress(OSError), listening_socket(BindAddress("127.0.0.1", port)):
            return BindAddress("127.0.0.1", port)
    with listening_socket(BindAddress("127.0.0.1", 0)) as free:
        return BindAddress("127.0.0.1", free.getsockname()[1])


def _wire_host(demo: Demo, host: Host | None, *, issuer: x509.Name) -> None:
    spec = HostSpec(
        upstreams=(UpstreamSpec(address=demo.address.host, port=demo.address.port),),
        upstream_tls=UpstreamTLSChanges(
            ca_certificate=demo.ca_path.read_text(encoding="ascii"), server_name=DEMO_SERVER_NAME
        ),
    )
    if host is None:
        host = create_host(spec=_named(spec), user=None)
    elif not _is_wired(host, spec):
        host = update_host(host=host, spec=spec, user=None)
    if not _has_good_certificate(host, issuer):
        install_issued_certificate(host=host, user=None)


def _named(spec: HostSpec) -> HostSpec:
    return HostSpec(
        name=DEMO_HOST_NAME, domains=(DEMO_DOMAIN,), upstreams=spec.upstreams, upstream_tls=spec.upstream_tls
    )


def _is_wired(host: Host, spec: HostSpec) -> bool:
    """Whether the host points at the demo upstream already, so that a start changes nothing."""
    targets = tuple(UpstreamSpec(address=item.address, port=item.port) for item in host.upstreams.all())
    tls = host.upstream_tls
    wanted = spec.upstream_tls
    return targets == spec.upstreams and (tls.ca_certificate, tls.server_name) == (
        wanted.ca_certificate,
        wanted.server_name,
    )


def _has_good_certificate(host: Host, issuer: x509.Name) -> bool:
    tls = host.upstream_tls
    if not (tls.enabled and tls.client_certificate):
        return False
    leaf = x509.load_pem_x509_certificate(tls.client_certificate.encode("ascii"))
    return leaf.issuer == issuer and leaf.not_valid_after_utc > timezone.now() + RENEW_BEFORE


def _is_good_until_later(path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return certificate.not_valid_after_utc > timezone.now() + RENEW_BEFORE


def _make_certificates(demo: Demo) -> None:
    """A CA of the upstream's own and its server certificate, which is written last: it vouches for the rest."""
    now = timezone.now()
    root = profiles.build_root(common_name="Aegis demo upstream CA", now=now)
    key = generate_key()
    leaf = profiles.build_leaf(
        issuer=root,
        purpose=ExtendedKeyUsageOID.SERVER_AUTH,
        common_name=DEMO_SERVER_NAME,
        names=[x509.DNSName(DEMO_SERVER_NAME), _name_of(demo.address.host)],
        public_key=key.public_key(),
        now=now,
    )
    demo.ca_path.write_text(profiles.certificate_to_pem(root.certificate), encoding="ascii")
    demo.key_path.touch(mode=0o600)
    demo.key_path.write_bytes(key_to_pem(key))
    demo.certificate_path.write_text(profiles.certificate_to_pem(leaf), encoding="ascii")


def _name_of(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
