"""`python -m tests.bench.health_world` fills the database of a health bench as standard input asks, by the services.

Laws of this module: hosts are stored as the API stores them, without being published, for no proxy runs; each has an
mTLS identity, a check, and its upstreams at `addresses`. Prints the id of each upstream.
"""

import json
import sys
from typing import Any

import django


def fill(order: dict[str, Any]) -> list[str]:
    """The ids of the upstreams of `hosts` new hosts."""
    # Django has to be set up before models are imported, and this module is imported without.
    from hosts.models import Upstream
    from hosts.services import create_host
    from hosts.specs import HostSpec, UpstreamSpec
    from upstream_tls.changes import UpstreamTLSChanges

    identifiers: list[str] = []
    for number in range(order["hosts"]):
        name = f"{order['prefix']}-{number}"
        spec = HostSpec(
            name=name,
            domains=(f"{name}.example.com",),
            upstreams=tuple(UpstreamSpec(address=address, port=port) for address, port in order["addresses"]),
            upstream_tls=UpstreamTLSChanges(**order["tls"]),
            sections={"health_check": {"enabled": True, **order["check"]}},
        )
        host = create_host(spec=spec, user=None)
        identifiers += map(str, Upstream.objects.filter(host=host).values_list("pk", flat=True))
    return identifiers


def main() -> None:
    django.setup()
    from django.db import transaction

    from hosts.publish import publishing_together

    order = json.load(sys.stdin)
    # All or nothing, and one commit instead of hundreds.
    with transaction.atomic(), publishing_together(set()):
        identifiers = fill(order)
    json.dump(identifiers, sys.stdout)


if __name__ == "__main__":
    main()
