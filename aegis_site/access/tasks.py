"""Work on tokens and sessions outside of requests: sweeps."""

from celery import shared_task
from django.utils import timezone

from aegis_site.access import session_list
from aegis_site.access.services import prune_tokens


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_expired_tokens() -> None:
    """Delete tokens that expired long ago."""
    prune_tokens(now=timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_expired_sessions() -> None:
    """Delete sessions that have expired, and second factors that were begun only."""
    session_list.prune(now=timezone.now())
