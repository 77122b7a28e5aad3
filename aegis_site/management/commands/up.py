"""Everything in one terminal."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from aegis_site import instance
from aegis_site.first_run import FirstRunProblem, prepared


class Command(BaseCommand):
    """`manage.py up`: the first-run steps, then all processes of Aegis under one supervisor, until Ctrl-C."""

    help = "Start everything in this terminal: admin and API, proxy, background work and, unless configured, a Valkey."
    requires_system_checks = []  # they would complain about what is not there yet

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with prepared(announce=self.stdout.write):
                pass
        except FirstRunProblem as error:
            raise CommandError(str(error)) from error
        instance.become()
