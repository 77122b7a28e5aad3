"""Failures for the tests of the inbox."""

import datetime
from typing import Any

from django.utils import timezone

from healthchecks.failures.counts import keep_counts
from healthchecks.failures.models import FailureGroup, Source
from healthchecks.failures.sightings import Sighting, record_sightings
from hosts.models import ConnectionTest, ConnectionTestState, Host
from proxyworker.snapshot import UpstreamFailure
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


def reported(host: Host, **values: object) -> UpstreamFailure:
    """As a worker counts one."""
    found = {
        "host_id": str(host.pk),
        "upstream_id": str(host.upstreams.all()[0].pk),
        "phase": "tls",
        "code": CODE,
        "reason": "remote error: tls: unknown certificate authority",
        "request_id": "a1-42",
        "at": NOW.timestamp(),
        "count": 9,
        "code_count": 3,
        **values,
    }
    return UpstreamFailure(**found)  # type: ignore[arg-type]


def keep(*failures: UpstreamFailure, run: str = "first", now: datetime.datetime = NOW) -> None:
    """They are reported."""
    keep_counts(worker_id="edge:1", run=run, failures=failures, now=now)


def connection_test(host: Host, **values: object) -> ConnectionTest:
    """One that failed, not saved."""
    found = {
        "batch": host.pk,
        "host": host,
        "upstream": host.upstreams.all()[0],
        "address": "10.0.0.7",
        "port": 9443,
        "is_of_saved_host": True,
        "state": ConnectionTestState.DONE,
        "success": False,
        "code": CODE,
        "result": {"error": {"message": "remote error\x00"}},
        "created_at": timezone.now(),
        **values,
    }
    return ConnectionTest(**found)
