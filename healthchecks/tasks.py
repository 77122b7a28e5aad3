"""The periodic work of health checks. Each task is a sweep and may run at any time, also twice."""

from celery import shared_task
from django.utils import timezone

from healthchecks.retention import forget_history_of_gone_upstreams, forget_old_samples
from healthchecks.sweep import process_sweeper


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_health_checks() -> None:
    """Begin the checks that are due."""
    process_sweeper().sweep()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_health_history() -> None:
    """Forget samples that are older than a week."""
    forget_old_samples(now=timezone.now())
    forget_history_of_gone_upstreams()
