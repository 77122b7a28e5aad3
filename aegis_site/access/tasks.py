"""Work on tokens outside of requests: sweeps."""

from celery import shared_task
from django.utils import timezone

from aegis_site.access.services import prune_tokens


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune_expired_tokens() -> None:
    """Delete tokens that expired long ago."""
    prune_tokens(now=timezone.now())
