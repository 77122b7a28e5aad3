"""What a host shall be."""

from hosts.specs import HostSpec
from tests.hosts.examples import mtls
from upstream_tls.changes import KEEP


def test_nothing_is_changed_unless_said() -> None:
    """Every value is KEEP by default, also those of upstream TLS."""
    spec = HostSpec()
    assert spec.name is spec.domains is spec.upstreams is spec.upstream_tls.client_key is KEEP


def test_secrets_do_not_show() -> None:
    """A repr of a spec holds no key."""
    assert "PRIVATE KEY" not in repr(HostSpec(upstream_tls=mtls()))
