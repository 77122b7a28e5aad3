"""The Celery app and the one table of periodic work. Each entry is a sweep, so a missed tick heals itself."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aegis_site.settings")

app = Celery("aegis")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "prune-expired-tokens": {"task": "aegis_site.access.tasks.prune_expired_tokens", "schedule": 21_600.0},
    "prune-expired-sessions": {"task": "aegis_site.access.tasks.prune_expired_sessions", "schedule": 3600.0},
    "compile-changed-hosts": {"task": "hosts.tasks.compile_changed_hosts", "schedule": 15.0},
    "end-skip-verify": {"task": "hosts.tasks.end_skip_verify", "schedule": 60.0},
    "forget-certificate-requests": {"task": "hosts.tasks.forget_certificate_requests", "schedule": 21_600.0},
    "expire-lost-connection-tests": {"task": "hosts.tasks.expire_lost_connection_tests", "schedule": 15.0},
    "sweep-rotations": {"task": "hosts.tasks.sweep_rotations", "schedule": 1.0, "options": {"expires": 5.0}},
    "renew-client-certificates": {"task": "hosts.tasks.renew_client_certificates", "schedule": 3600.0},
    "prune-audit-log": {"task": "aegis_site.kernel.audit.tasks.prune_audit_log", "schedule": 3600.0},
    "refresh-revocation-lists": {"task": "localca.tasks.refresh_revocation_lists", "schedule": 600.0},
    # A sweep that waited is of no use: the next one does all of its work.
    "sweep-health-checks": {
        "task": "healthchecks.tasks.sweep_health_checks",
        "schedule": 1.0,
        "options": {"expires": 5.0},
    },
    "prune-health-history": {"task": "healthchecks.tasks.prune_health_history", "schedule": 600.0},
    "take-failure-counts": {
        "task": "healthchecks.tasks.take_failure_counts",
        "schedule": 2.0,
        "options": {"expires": 10.0},
    },
    "settle-failures": {"task": "healthchecks.tasks.settle_failures", "schedule": 60.0},
    "forget-kept-answers": {"task": "aegis_site.kernel.idempotency.tasks.forget_kept_answers", "schedule": 60.0},
    "sweep-notifications": {
        "task": "aegis_site.kernel.notifications.tasks.sweep_notifications",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "forget-notifications": {"task": "aegis_site.kernel.notifications.tasks.forget_notifications", "schedule": 3600.0},
    "tell-about-workers": {"task": "hosts.tasks.tell_about_workers", "schedule": 15.0, "options": {"expires": 15.0}},
    "tell-about-expiry": {"task": "hosts.tasks.tell_about_expiry", "schedule": 21_600.0},
    "unite-traffic-samples": {
        "task": "hosts.tasks.unite_traffic_samples",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "prune-traffic-samples": {"task": "hosts.tasks.prune_traffic_samples", "schedule": 600.0},
    "forget-lost-workers": {"task": "hosts.tasks.forget_lost_workers", "schedule": 600.0},
}
