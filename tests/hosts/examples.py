"""One named cast for the tests of hosts."""

from typing import Any

from hosts.models import Host
from hosts.services import create_host
from hosts.specs import DownstreamTLSChanges, HostSpec, UpstreamSpec
from tests.support.certificates import Authority
from upstream_tls.changes import UpstreamTLSChanges

CA = Authority("Orders CA")
LEAF = CA.client("orders client")
OTHER_LEAF = CA.client("another client")
SITE = CA.server("orders.example.com")
OTHER_SITE = CA.server("orders.example.com", "*.orders.example.com")


def mtls(**changes: Any) -> UpstreamTLSChanges:
    """mTLS with LEAF."""
    return UpstreamTLSChanges(
        **{"enabled": True, "client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem, **changes}
    )


def site(**changes: Any) -> DownstreamTLSChanges:
    """HTTPS with SITE."""
    return DownstreamTLSChanges(**{"certificate": SITE.chain_pem, "key": SITE.key_pem, **changes})


def spec(name: str = "orders", **changes: Any) -> HostSpec:
    """A valid host with one https upstream."""
    return HostSpec(
        **{
            "name": name,
            "domains": (f"{name}.example.com",),
            "upstreams": (UpstreamSpec(address="10.0.0.7", port=9443),),
            **changes,
        }
    )


def make_host(name: str = "orders", **changes: Any) -> Host:
    """That host, stored; not published unless the test runs the commit callbacks."""
    return create_host(spec=spec(name, **changes), user=None)
