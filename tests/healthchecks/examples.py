"""Hosts that are checked, and what a check takes, for the tests of health checks."""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from healthchecks.answer import Request
from healthchecks.check import Job, Outcome
from healthchecks.claims import Claim, claim_due, synchronise
from healthchecks.models import UpstreamHealth
from healthchecks.recording import Result, record
from hosts.models import Host
from hosts.specs import UpstreamSpec
from tests.hosts.examples import make_host

NOW = timezone.now()


def checked_host(name: str = "orders", *, upstreams: Sequence[UpstreamSpec] = (), **check: Any) -> Host:
    """A host whose upstreams are checked."""
    found = tuple(upstreams) or (UpstreamSpec(address="10.0.0.7", port=9443),)
    return make_host(name, upstreams=found, sections={"health_check": {"enabled": True, **check}})


def request(**changes: Any) -> Request:
    """GET / that any good status satisfies."""
    values: dict[str, Any] = {
        "method": "GET",
        "path": "/",
        "host_field": "orders.internal",
        "headers": (),
        "statuses": ((200, 399),),
        "body_contains": b"",
    }
    return Request(**{**values, **changes})


def job(port: int, **changes: Any) -> Job:
    """A check of 127.0.0.1 without TLS."""
    return Job(**{"address": "127.0.0.1", "port": port, "timeout_s": 5.0, "request": request(), **changes})


def outcome(*, is_ok: bool = True, at: datetime.datetime = NOW, **changes: Any) -> Outcome:
    """Of a check that went well, or was refused."""
    failure: dict[str, Any] = {"code": "connection_refused", "message": "refused"}
    return Outcome(**{"at": at, "is_ok": is_ok, "duration_ms": 7, **({} if is_ok else failure), **changes})


def claims_of_all(now: datetime.datetime) -> list[Claim]:
    """Every upstream that is to be checked, claimed, wherever it stands in its interval."""
    synchronise(now=now, draw=lambda: 0.0)
    UpstreamHealth.objects.update(next_due_at=now)
    return claim_due(now=now, limit=1000)


def checked(now: datetime.datetime, **changes: Any) -> None:
    """One round of checks of all upstreams, all with the same outcome."""
    record([Result(claim=claim, outcome=outcome(at=now, **changes)) for claim in claims_of_all(now)], now=now)


def a_claim() -> Claim:
    """Of no upstream."""
    return Claim(
        claim_id=uuid.uuid4(),
        upstream_id=uuid.uuid4(),
        host_id=uuid.uuid4(),
        host_version=NOW,
        due_at=NOW,
        interval_s=10,
        healthy_after=2,
        unhealthy_after=3,
    )
