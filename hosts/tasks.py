"""Periodic work on hosts. Each task is a sweep and may run at any time, also twice."""

import datetime

from celery import shared_task
from django.utils import timezone

from hosts.models import ProxyWorker
from hosts.publish import publish
from hosts.selectors import hosts_to_compile

# Workers report every few seconds. The admin calls one lost long before it is forgotten.
FORGET_WORKER_AFTER = datetime.timedelta(hours=1)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def compile_changed_hosts() -> None:
    """Publish what should be published and is not: a process died after its commit, or a key opens again."""
    publish(hosts_to_compile())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def forget_lost_workers() -> None:
    """Delete workers that have not reported for long."""
    ProxyWorker.objects.filter(last_seen_at__lt=timezone.now() - FORGET_WORKER_AFTER).delete()
