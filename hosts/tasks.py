"""Work on hosts outside of requests. Each task may run at any time, also twice; the periodic ones are sweeps."""

import datetime
import uuid

from celery import shared_task
from django.utils import timezone

from hosts import alerts
from hosts.certificate_requests import forget_old_requests
from hosts.connection_test_run import run_tests
from hosts.connection_tests import expire_lost_tests
from hosts.models import ProxyWorker
from hosts.publish import publish
from hosts.rotation.renewal import renew_due
from hosts.rotation.running import advance, due_rotations
from hosts.selectors import hosts_to_compile
from hosts.skip_verify import end_exceptions
from hosts.traffic_statistics import retention

# Workers report every few seconds. The admin calls one lost long before it is forgotten.
FORGET_WORKER_AFTER = datetime.timedelta(hours=1)
# The next sweep queues again what was not taken.
ROTATION_STEP_EXPIRES_S = 5.0


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def compile_changed_hosts() -> None:
    """Publish what should be published and is not: a process died after its commit, or a key opens again."""
    publish(hosts_to_compile())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def end_skip_verify() -> None:
    """Verify upstreams again whose exception from verification is over."""
    end_exceptions(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def forget_lost_workers() -> None:
    """Delete workers that have not reported for long."""
    ProxyWorker.objects.filter(last_seen_at__lt=timezone.now() - FORGET_WORKER_AFTER).delete()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def forget_certificate_requests() -> None:
    """Delete keys for which no certificate came in months."""
    forget_old_requests(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def run_connection_tests(test_ids: list[str]) -> None:
    """Run the requested tests of a batch; delivered twice, it runs them once."""
    run_tests(test_ids)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def expire_lost_connection_tests() -> None:
    """End tests whose worker died, so that no pasted key waits in a row for ever."""
    expire_lost_tests(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def tell_about_workers() -> None:
    """Notify of workers that are lost or back, and of configurations that they refuse."""
    now = timezone.now()
    alerts.tell_about_workers(now=now)
    alerts.tell_about_refusals(now=now)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def tell_about_expiry() -> None:
    """Notify of certificates that end soon."""
    alerts.tell_about_expiry(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def advance_rotation(rotation_id: str) -> None:
    """Take the next step of one rotation; delivered twice, it is taken once."""
    advance(uuid.UUID(rotation_id))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_rotations() -> None:
    """Have each rotation go on whose next step is due, side by side: one whose upstreams hang holds up no other."""
    for rotation_id in due_rotations(now=timezone.now()):
        advance_rotation.apply_async([str(rotation_id)], expires=ROTATION_STEP_EXPIRES_S)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def renew_client_certificates() -> None:
    """Renew the client certificates of the local CA that are due, and rotate to them."""
    renew_due(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def unite_traffic_samples() -> None:
    """Sum up what several workers counted of the same minutes."""
    retention.unite_sources(now_s=timezone.now().timestamp())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_traffic_samples() -> None:
    """Sum up what is old of the traffic, forget what is older, and what was told of hosts that are gone."""
    retention.condense(now_s=timezone.now().timestamp())
    retention.forget_traffic_of_gone_hosts()
