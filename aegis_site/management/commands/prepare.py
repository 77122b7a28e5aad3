"""The first-run steps alone."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from aegis_site.first_run import FirstRunProblem, prepared


class Command(BaseCommand):
    """`manage.py prepare`: in production before each start of a new version; `manage.py up` does it by itself."""

    help = "Make this installation ready to start: data directory and secrets (embedded mode), tables, local CA, admin."
    requires_system_checks = []  # they would complain about what is not there yet

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with prepared(announce=self.stdout.write):
                pass
        except FirstRunProblem as error:
            raise CommandError(str(error)) from error
