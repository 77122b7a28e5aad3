"""Failures for the tests of the inbox."""

import datetime
from typing import Any

from healthchecks.failures.models import FailureGroup, Source
from healthchecks.failures.sightings import Sighting, record_sightings
from hosts.models import Host
from tests.healthchecks.examples import NOW

CODE = "client_certificate_untrusted"


def sighting(host: Host, number: int = 0, **values: Any) -> Sighting:
    """One failure of an upstream, met by traffic."""
    return Sighting(
        **{
            "host_id": host.pk,
            "upstream_id": host.upstreams.all()[number].pk,
            "code": CODE,
            "message": "remote error: tls: unknown certificate authority",
            "at": NOW,
            "source": Source.TRAFFIC,
            **values,
        }
    )


def failed(host: Host, *, now: datetime.datetime = NOW, **values: Any) -> FailureGroup:
    """The group after that."""
    record_sightings([sighting(host, **values)], now=now)
    return FailureGroup.objects.get(host=host, code=values.get("code", CODE))
