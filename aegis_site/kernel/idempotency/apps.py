"""Registers the app."""

from django.apps import AppConfig


class IdempotencyConfig(AppConfig):
    """Answers that are kept for a request that comes again."""

    name = "aegis_site.kernel.idempotency"
    verbose_name = "idempotency"
