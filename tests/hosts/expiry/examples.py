"""A host that has one of everything that ends, with an upstream that was seen."""

import datetime
import uuid
from dataclasses import replace
from typing import Any

from django.utils import timezone

from hosts.models import ConnectionTest, ConnectionTestState, Host
from hosts.specs import DownstreamTLSChanges
from tests.hosts.connection_examples import CERTIFICATE, result
from tests.hosts.examples import make_host
from tests.support.certificates import Authority
from tests.support.odd_certificates import pem, revocation_list
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.tls.peer import PresentedCertificate
from upstream_tls.tls.result import ProbeTarget, as_document

DAY = datetime.timedelta(days=1)
NOW = timezone.now()

ROOT = Authority("Root")
INTERMEDIATE = Authority("Intermediate", parent=ROOT)
CLIENT = INTERMEDIATE.client("client", not_after=NOW + 20 * DAY)
SERVER = INTERMEDIATE.server("orders.example.com", not_after=NOW + 50 * DAY)
LIST = revocation_list(ROOT, now=NOW, next_update=6 * DAY)


def full_host(name: str = "orders", **changes: Any) -> Host:
    """Client and server certificate with an intermediate each, a CA bundle of two, and a revocation list."""
    return make_host(
        name,
        upstream_tls=UpstreamTLSChanges(
            **{
                "enabled": True,
                "client_certificate": CLIENT.chain_pem,
                "client_key": CLIENT.key_pem,
                "ca_certificate": ROOT.pem + INTERMEDIATE.pem,
                "crl": pem(LIST),
                **changes,
            }
        ),
        downstream_tls=DownstreamTLSChanges(certificate=SERVER.chain_pem, key=SERVER.key_pem),
    )


def shown(common_name: str, not_after: datetime.datetime | None, fingerprint: str = "") -> PresentedCertificate:
    """A certificate in an upstream's chain; its fingerprint is made of its name unless it has one."""
    fingerprint = fingerprint or common_name.encode().hex().ljust(64, "0")
    return replace(CERTIFICATE, subject=f"CN={common_name}", fingerprint_sha256=fingerprint, not_after=not_after)


def seen(host: Host, *chain: PresentedCertificate, **changes: Any) -> ConnectionTest:
    """The host's first upstream showed this chain at a test of what is saved."""
    upstream = host.upstreams.all()[0]
    target = ProbeTarget(address=upstream.address, port=upstream.port, host_field="orders.example.com")
    values: dict[str, Any] = {
        "batch": uuid.uuid4(),
        "host": host,
        "upstream": upstream,
        "address": upstream.address,
        "port": upstream.port,
        "is_of_saved_host": True,
        "state": ConnectionTestState.DONE,
        "success": True,
        "result": as_document(result(target, chain=chain)),
        "created_at": NOW,
        "finished_at": NOW,
    }
    return ConnectionTest.objects.create(**{**values, **changes})
