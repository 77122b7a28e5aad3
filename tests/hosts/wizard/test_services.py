"""What the steps store."""

import pytest

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.site_settings.models import SiteSettings
from hosts.models import Host
from hosts.specs import UpstreamSpec
from hosts.wizard import services
from tests.hosts.examples import CA, make_host, mtls
from tests.support.certificates import Authority

pytestmark = pytest.mark.django_db

OTHER = Authority("Other CA")


def test_a_new_host_has_what_an_administrator_has_set() -> None:
    """It is off, and the audit log has it."""
    SiteSettings.objects.create(host_preserve_host=True, host_min_version="TLSv1.3")
    host = services.begin(name="orders", domains=["orders.example.com"], user=None)
    stored = Host.objects.with_configuration().get(pk=host.pk)
    assert (stored.enabled, stored.preserve_host, stored.upstream_tls.min_version) == (False, True, "TLSv1.3")
    assert AuditEntry.objects.get().action == "created"


def test_trust_is_added_once() -> None:
    """To what is trusted, which a whole bundle replaces; nothing is skipped."""
    host = make_host(upstream_tls=mtls(ca_certificate=CA.pem))
    for _ in range(2):
        services.trust_also(host=host, pem=OTHER.pem, user=None)
    assert Host.objects.get(pk=host.pk).upstream_tls.ca_certificate == CA.pem + OTHER.pem
    services.set_trust(host=host, ca_pem=OTHER.pem, user=None)
    configuration = Host.objects.get(pk=host.pk).upstream_tls
    assert (configuration.ca_certificate, configuration.skip_verify) == (OTHER.pem, False)


def test_one_upstream_is_reached_without_tls() -> None:
    """It keeps its row, and the others are left alone."""
    upstreams = (UpstreamSpec(address="a", port=8080, weight=3), UpstreamSpec(address="b", port=443))
    host = make_host(upstreams=upstreams)
    first = host.upstreams.all()[0]
    services.speak_plain(host=host, upstream_id=str(first.pk), user=None)
    services.speak_plain(host=host, upstream_id="no such id", user=None)
    stored = list(host.upstreams.all())
    assert [str(upstream) for upstream in stored] == ["http://a:8080", "https://b:443"]
    assert (stored[0].pk, stored[0].weight) == (first.pk, 3)
