"""A host before a real nginx whose trust changes, and what tests of rotations ask for."""

import datetime
from pathlib import Path

from django.utils import timezone

from hosts.models import Host
from hosts.rotation.models import Rotation
from hosts.rotation.running import advance
from hosts.rotation.services import stage
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host
from tests.support.certificates import Authority, Leaf
from tests.support.nginx import Nginx
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

SERVER_CA = Authority("Upstream CA")
SERVER = SERVER_CA.server("backend.internal")
OLD_CA, NEW_CA = Authority("Old client CA"), Authority("New client CA")
OLD, NEW = OLD_CA.client("old identity"), NEW_CA.client("new identity")


def nginx_trusting(directory: Path, *authorities: Authority) -> Nginx:
    """Not started yet."""
    return Nginx(directory, server=SERVER, client_ca_pem=pem_of(*authorities), is_reloadable=True)


def pem_of(*authorities: Authority) -> str:
    return "".join(authority.pem for authority in authorities)


def pair(leaf: Leaf) -> UpstreamTLSChanges:
    return UpstreamTLSChanges(client_certificate=leaf.chain_pem, client_key=leaf.key_pem)


def host_before(*servers: Nginx, leaf: Leaf = OLD, name: str = "orders") -> Host:
    """A host that presents `leaf` to these."""
    tls = UpstreamTLSChanges(
        enabled=True,
        client_certificate=leaf.chain_pem,
        client_key=leaf.key_pem,
        ca_certificate=SERVER_CA.pem,
        server_name="backend.internal",
    )
    upstreams = tuple(UpstreamSpec(address="127.0.0.1", port=nginx.port) for nginx in servers)
    return make_host(name, upstreams=upstreams, upstream_tls=tls)


def plain_host(name: str = "orders", *, leaf: Leaf = OLD) -> Host:
    """A host with a client certificate and no upstream that would see it: every candidate is as good."""
    tls = UpstreamTLSChanges(enabled=True, client_certificate=leaf.chain_pem, client_key=leaf.key_pem)
    upstreams = (UpstreamSpec(scheme="http", address="127.0.0.1", port=9),)
    return make_host(name, upstreams=upstreams, upstream_tls=tls)


def staged(host: Host, leaf: Leaf = NEW, *, is_manual: bool = False) -> Rotation:
    """Staged, and the first step taken."""
    return next_step(stage(host=host, pair=pair(leaf), is_manual=is_manual, user=None))


def again(rotation: Rotation) -> Rotation:
    """As it is stored now."""
    return Rotation.objects.get(pk=rotation.pk)


def next_step(rotation: Rotation) -> Rotation:
    """Take the next step now, whenever it is due."""
    Rotation.objects.filter(pk=rotation.pk).exclude(due_at=None).update(due_at=timezone.now())
    advance(rotation.pk)
    return again(rotation)


def after_the_watch(rotation: Rotation) -> Rotation:
    """The step after it was watched for long enough."""
    past = timezone.now() - datetime.timedelta(hours=2)
    Rotation.objects.filter(pk=rotation.pk).update(promoted_at=past)
    return next_step(rotation)


def in_use(host: Host) -> str:
    """The subject of what the host presents; empty: nothing."""
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    return configuration.client_certificate_facts[0].subject if configuration.enabled else ""
