"""What each step stores, and the test of what is stored.

Laws of this module:
- Hosts are written by `hosts.services` alone; what a step does not ask for is kept.
- A host that is made here is off until `go_live`.
- No step skips verification.
"""

import uuid
from collections.abc import Sequence

from django.db import transaction

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.site_settings.services import host_defaults
from aegis_site.kernel.throttling import count_test
from hosts.connection_tests import all_upstreams, request_tests_as_stored, wait_for
from hosts.models import Host, Scheme
from hosts.services import create_host, update_host
from hosts.specs import HostSpec, UpstreamSpec
from hosts.wizard.forms import upstream_specs
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

_TLS_DEFAULTS = ("min_version", "max_version")


def begin(*, name: str, domains: Sequence[str], user: Actor | None) -> Host:
    """A host that is off, with what an administrator has set for new ones. Raises ValidationError."""
    defaults = host_defaults()
    versions = {key: defaults.pop(key) for key in _TLS_DEFAULTS}
    tls = UpstreamTLSChanges(**versions)
    spec = HostSpec(name=name, domains=tuple(domains), enabled=False, upstream_tls=tls, **defaults)
    return create_host(spec=spec, user=user)


def set_domains(*, host: Host, name: str, domains: Sequence[str], user: Actor | None) -> None:
    """Raises ValidationError."""
    update_host(host=host, spec=HostSpec(name=name, domains=tuple(domains)), user=user)


@transaction.atomic
def set_upstreams(*, host: Host, targets: Sequence[tuple[str, str, int]], user: Actor | None) -> None:
    """`targets` as `hosts.wizard.forms.target_of_url` reads them. Raises ValidationError."""
    current = _locked(host)
    update_host(host=host, spec=HostSpec(upstreams=upstream_specs(targets, list(current.upstreams.all()))), user=user)


@transaction.atomic
def speak_plain(*, host: Host, upstream_id: str, user: Actor | None) -> None:
    """Reach this upstream by http from now on; one that is not there is none to be changed. Raises ValidationError."""
    specs = tuple(
        UpstreamSpec(
            upstream_id=upstream.pk,
            scheme=Scheme.HTTP.value if str(upstream.pk) == upstream_id else upstream.scheme,
            address=upstream.address,
            port=upstream.port,
            enabled=upstream.enabled,
            weight=upstream.weight,
            backup=upstream.backup,
            drain=upstream.drain,
        )
        for upstream in _locked(host).upstreams.all()
    )
    update_host(host=host, spec=HostSpec(upstreams=specs), user=user)


def set_trust(*, host: Host, ca_pem: str, user: Actor | None) -> None:
    """Verify the upstreams by these CAs alone; empty: by the system's. Raises ValidationError."""
    _change_tls(host, UpstreamTLSChanges(ca_certificate=ca_pem), user)


@transaction.atomic
def trust_also(*, host: Host, pem: str, user: Actor | None) -> None:
    """Add a certificate to those that verify the upstreams. Raises ValidationError."""
    _locked(host)
    trusted = UpstreamTLSConfiguration.objects.get(host=host).ca_certificate
    if pem not in trusted:
        set_trust(host=host, ca_pem=trusted + pem, user=user)


def set_server_name(*, host: Host, server_name: str, user: Actor | None) -> None:
    """The name to ask the upstreams for; empty: their address. Raises ValidationError."""
    _change_tls(host, UpstreamTLSChanges(server_name=server_name), user)


def present(*, host: Host, changes: UpstreamTLSChanges, user: Actor | None) -> None:
    """Install an uploaded client certificate. Raises ValidationError."""
    _change_tls(host, changes, user)


def present_nothing(*, host: Host, user: Actor | None) -> None:
    """Go without a client certificate; one that is stored stays stored. Raises ValidationError."""
    _change_tls(host, UpstreamTLSChanges(enabled=False), user)


def go_live(*, host: Host, user: Actor | None) -> None:
    """Have the workers serve the host. Raises ValidationError."""
    update_host(host=host, spec=HostSpec(enabled=True), user=user)


def try_upstreams(*, host: Host, user: Actor) -> uuid.UUID:
    """Test what is stored, and wait for it: at most `connection_tests.ANSWER_WITHIN`. Returns the batch.

    Not within a transaction. Raises AegisError: TooManyTests, NothingToTest, SecretUnreadable.
    """
    upstreams = all_upstreams(host.upstreams.all())
    count_test(user.pk)
    batch = request_tests_as_stored(host=host, upstreams=upstreams, user=user)
    wait_for(batch)
    return batch


def _change_tls(host: Host, changes: UpstreamTLSChanges, user: Actor | None) -> None:
    update_host(host=host, spec=HostSpec(upstream_tls=changes), user=user)


def _locked(host: Host) -> Host:
    """The host as it is now, until the transaction ends."""
    Host.objects.select_for_update().only("pk").get(pk=host.pk)
    return Host.objects.with_configuration().get(pk=host.pk)
