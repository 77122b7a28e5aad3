"""Short words about a host."""

import datetime
from typing import Any

import pytest
from django.utils.html import strip_tags

from hosts.badges import badge, badges, host_badges
from hosts.models import Host
from upstream_tls.models import UpstreamTLSConfiguration


def words(host: Host, **options: Any) -> list[str]:
    return [strip_tags(item).strip() for item in host_badges(host, **options)]


@pytest.mark.django_db
def test_a_host_says_what_an_operator_must_see() -> None:
    """Refusal first, then failures, the missing verification, and mTLS."""
    host = Host(name="orders")
    assert words(host) == []
    host.upstream_tls = UpstreamTLSConfiguration(enabled=True, skip_verify=True)
    assert words(host, refused_because="bad key") == ["Refused", "TLS not verified", "mTLS"]
    everything = words(host, refused_because="bad key", has_failed_lately=True)
    assert everything == ["Refused", "Upstream failure", "TLS not verified", "mTLS"]
    until = datetime.datetime(2099, 3, 1, 6, tzinfo=datetime.UTC)
    host.upstream_tls = UpstreamTLSConfiguration(skip_verify=True, skip_verify_until=until)
    assert words(host) == ["TLS not verified until 2099-03-01"]
    host.upstream_tls = UpstreamTLSConfiguration(skip_verify=True, skip_verify_until=until.replace(year=2020))
    assert words(host) == []
    host.upstream_tls = UpstreamTLSConfiguration(enabled=True)
    assert words(host) == ["mTLS"]


def test_badges_are_escaped_and_coloured() -> None:
    """The text is data."""
    shown = badges([badge("<b>", "warning"), badge("x", "danger")])
    assert "&lt;b&gt;" in shown
    assert "bg-orange-100" in shown
    assert "bg-red-100" in shown
