"""Everything in one terminal, with an upstream to try it on."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aegis_site import instance
from aegis_site.demo import open_listener
from aegis_site.demo_setup import nobody_listens_yet, set_up_demo
from aegis_site.demo_zoo_setup import set_up_zoo
from aegis_site.environment import BindAddress, EnvironmentProblem
from aegis_site.first_run import FirstRunProblem, prepared


class Command(BaseCommand):
    """`manage.py demo`: as `manage.py up`, with an upstream that demands a client certificate, and a host for it."""

    help = "As `up`, and in addition an upstream that demands a client certificate and the host demo.localhost for it."
    requires_system_checks = []  # they would complain about what is not there yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--zoo",
            action="store_true",
            help="also run upstreams that are each broken in one way, with a host for each",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.AEGIS_IS_EMBEDDED:
            raise CommandError("the demo is for the embedded mode; unset AEGIS_DATABASE_URL")
        try:
            open_listener(
                BindAddress.parse(text, variable="AEGIS_PROXY_HTTP", is_traffic=True)
                for text in settings.AEGIS_PROXY_HTTP
            )
            with prepared(announce=self.stdout.write), nobody_listens_yet():
                demo = set_up_demo()
                if options["zoo"]:
                    set_up_zoo()
        except (FirstRunProblem, EnvironmentProblem) as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        instance.become("--demo", str(demo.address), *(("--zoo",) if options["zoo"] else ()))
