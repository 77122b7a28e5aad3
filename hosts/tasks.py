"""Work on hosts outside of requests. Each task may run at any time, also twice; the periodic ones are sweeps."""

import datetime

from celery import shared_task
from django.utils import timezone

from hosts import alerts
from hosts.connection_test_run import run_tests
from hosts.connection_tests import expire_lost_tests
from hosts.models import ProxyWorker
from hosts.publish import publish
from hosts.selectors import hosts_to_compile
from hosts.skip_verify import end_exceptions

# Workers report every few seconds. The admin calls one lost long before it is forgotten.
FORGET_WORKER_AFTER = datetime.timedelta(hours=1)


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
