"""apps: what is ready when Django is."""

import celery
from django.conf import settings

from aegis_site.celery import app


def test_what_enqueues_work_knows_the_broker() -> None:
    """Shared tasks find the current app, which is Aegis's with its settings, not Celery's default on localhost."""
    assert celery.current_app._get_current_object() is app
    assert app.conf.broker_url == settings.CELERY_BROKER_URL


def test_twenty_connection_tests_at_once_leave_threads_for_the_sweeps() -> None:
    """In one process, however the worker is started; another worker's message is not held back."""
    assert (app.conf.worker_pool, app.conf.worker_prefetch_multiplier) == ("threads", 1)
    assert app.conf.worker_concurrency >= 20 + 8
