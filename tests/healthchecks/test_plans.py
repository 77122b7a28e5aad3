"""plans: what checking the upstreams of a host takes."""

import datetime
from typing import Any

import pytest
from django.utils import timezone

from healthchecks import plans as plans_module
from healthchecks.check import Job
from healthchecks.plans import PLAN_LIFETIME, Plans
from hosts.models import Host
from hosts.services import update_host
from hosts.specs import HostSpec, UpstreamSpec
from tests.healthchecks.examples import NOW, checked_host, claims_of_all
from tests.hosts.examples import LEAF, mtls
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import spec_of
from upstream_tls.tls.context import SharedContexts, build_context

pytestmark = pytest.mark.django_db


def jobs(plans: Plans, now: datetime.datetime = NOW) -> list[Job]:
    return [job for _, job in plans.jobs_for(claims_of_all(now), now=now)]


def with_tls(host: Host, **changes: Any) -> Host:
    return update_host(host=host, spec=HostSpec(upstream_tls=mtls(**changes)), user=None)


def test_tls_is_that_of_the_traffic() -> None:
    """The same identity, to the last field, from the same configuration by the same builder."""
    host = with_tls(checked_host(), server_name="orders.internal")
    [job] = jobs(Plans())
    assert job.context is not None
    assert job.context.digest == build_context(spec_of(host.upstream_configuration)).digest
    assert job.context.client_chain[0] == LEAF.certificate


def test_the_request_is_what_the_traffic_would_send_or_what_is_set() -> None:
    """Host field, method, path, header fields, expectations."""
    host = checked_host(path="/healthz", method="HEAD", headers=[{"name": "X-Probe", "value": "1"}], body_contains="ü")
    plans = Plans()
    [job] = jobs(plans)
    assert job.request is not None
    assert job.request.as_bytes() == (
        b"HEAD /healthz HTTP/1.1\r\nHost: 10.0.0.7:9443\r\nUser-Agent: aegis-health-check\r\nAccept: */*\r\n"
        b"X-Probe: 1\r\nConnection: close\r\n\r\n"
    )
    assert (job.request.statuses, job.request.body_contains) == (((200, 399),), "ü".encode())
    update_host(
        host=host,
        spec=HostSpec(
            sections={"health_check": {"host_field": "other", "headers": [{"name": "accept", "value": "x"}]}}
        ),
        user=None,
    )
    [job] = jobs(plans)
    assert job.request is not None
    assert b"Host: other\r\n" in job.request.as_bytes()
    assert job.request.as_bytes().lower().count(b"accept:") == 1


def test_http_upstreams_and_tcp_checks_need_no_tls() -> None:
    """So what is wrong with it is nothing to them."""
    checked_host("plain", upstreams=(UpstreamSpec(address="10.0.0.7", port=80, scheme="http"),))
    [plain] = jobs(Plans())
    assert (plain.context, plain.problem) == (None, None)
    assert plain.request is not None
    Host.objects.all().delete()
    checked_host("tcp", kind="tcp")
    [tcp] = jobs(Plans())
    assert (tcp.context, tcp.problem, tcp.request) == (None, None, None)


def test_what_cannot_be_used_is_a_problem() -> None:
    """With its code; nothing laxer is tried."""
    host = with_tls(checked_host())
    UpstreamTLSConfiguration.objects.filter(host=host).update(ciphers="NONSENSE")
    [job] = jobs(Plans())
    assert job.context is None
    assert job.problem is not None
    assert job.problem.field == "ciphers"


def test_plans_are_kept_until_the_host_changes(django_assert_num_queries: Any) -> None:
    """Or until their time is up."""
    host = checked_host()
    plans = Plans()
    claims = claims_of_all(NOW)
    plans.jobs_for(claims, now=NOW)
    with django_assert_num_queries(0):
        plans.jobs_for(claims, now=NOW)
    update_host(host=host, spec=HostSpec(sections={"health_check": {"path": "/new"}}), user=None)
    [job] = jobs(plans)
    assert job.request is not None
    assert job.request.path == "/new"
    with django_assert_num_queries(5):
        plans.jobs_for(claims, now=NOW + PLAN_LIFETIME)


def test_an_exception_from_verification_ends_with_its_date() -> None:
    """Not with the next change of the host."""
    now = timezone.now()
    until = now + datetime.timedelta(minutes=2)
    changes = UpstreamTLSChanges(skip_verify=True, skip_verify_reason="trial", skip_verify_until=until)
    host = checked_host()
    update_host(host=host, spec=HostSpec(upstream_tls=changes), user=None)
    stored = Host.objects.with_configuration().get(pk=host.pk)
    assert plans_module._plan(stored, SharedContexts(), (), now).valid_until == until


def test_an_upstream_that_is_gone_has_no_job() -> None:
    """Its claim is dropped."""
    host = checked_host()
    claims = claims_of_all(NOW)
    Host.objects.filter(pk=host.pk).delete()
    assert Plans().jobs_for(claims, now=NOW) == []
