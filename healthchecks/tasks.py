"""The periodic work of health checks. Each task is a sweep and may run at any time, also twice."""

from celery import shared_task
from django.utils import timezone

from healthchecks.alerts import settle_what_is_over
from healthchecks.failures.counts import forget_counts
from healthchecks.failures.standing import forget_old_failures, resolve_recovered
from healthchecks.failures.taking import take_counts
from healthchecks.retention import condense, forget_history_of_gone_upstreams
from healthchecks.sweep import process_sweeper


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_health_checks() -> None:
    """Begin the checks that are due."""
    process_sweeper().sweep()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_health_history() -> None:
    """Sum up what is old of the history, forget what is older, and what was told of upstreams that are gone."""
    condense(now_s=timezone.now().timestamp())
    forget_history_of_gone_upstreams()
    settle_what_is_over()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def take_failure_counts() -> None:
    """Move what the workers counted into the failure inbox."""
    take_counts(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def settle_failures() -> None:
    """Resolve failures of upstreams that are well again, and forget those that are long over."""
    now = timezone.now()
    resolve_recovered(now=now)
    forget_old_failures(now=now)
    forget_counts(now=now)
