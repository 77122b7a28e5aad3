"""Takes the second factor from a user who has lost it."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aegis_site.access.second_factor import reset
from aegis_site.kernel.audit.models import Origin
from aegis_site.kernel.audit.origin import source


class Command(BaseCommand):
    """`manage.py reset_two_factor admin`: for when no administrator can sign in to do it."""

    help = "Reset the two-factor sign-in of a user, and end the user's sessions. The password alone signs in then."
    requires_system_checks = []  # it needs nothing of the pages that they would load

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="name of the user")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        try:
            owner = User.objects.get(username=user)
        except User.DoesNotExist as error:
            raise CommandError(f"there is no user {user!r}") from error
        with source(Origin.COMMAND):
            if not reset(user=owner, by=None):
                raise CommandError(f"{user} has no two-factor sign-in")
        self.stdout.write(f"Two-factor sign-in of {user} is reset, and all sessions have ended.")
