"""Django's configuration of this app."""

from django.apps import AppConfig


class HealthChecksConfig(AppConfig):
    """Active checks of upstreams."""

    name = "healthchecks"
    verbose_name = "Health checks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Needs the models, which are not there when this module is imported.
        from healthchecks.section import SECTION  # noqa: PLC0415
        from hosts import failure_observers  # noqa: PLC0415
        from hosts.sections import register  # noqa: PLC0415

        register(SECTION)
        failure_observers.register(
            "failure inbox",
            failure_observers.FailureObserver(
                traffic="healthchecks.failures.counts.keep_counts", test="healthchecks.failures.sightings.note_test"
            ),
        )
