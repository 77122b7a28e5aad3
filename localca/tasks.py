"""Work of the local CA outside of requests: sweeps, which may run at any time, also twice."""

from celery import shared_task

from localca.revocation import refresh_lists


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def refresh_revocation_lists() -> None:
    """Make a new revocation list for each CA whose list is a day old."""
    refresh_lists()
