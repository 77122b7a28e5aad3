"""The Celery app and the one table of periodic work. Each entry is a sweep, so a missed tick heals itself."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aegis_site.settings")

app = Celery("aegis")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "compile-changed-hosts": {"task": "hosts.tasks.compile_changed_hosts", "schedule": 15.0},
    "expire-lost-connection-tests": {"task": "hosts.tasks.expire_lost_connection_tests", "schedule": 15.0},
    "forget-lost-workers": {"task": "hosts.tasks.forget_lost_workers", "schedule": 600.0},
}
