"""Prints one new API token of a user."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aegis_site.access.models import Scope
from aegis_site.access.services import DEFAULT_LIFETIME_DAYS, MAX_LIFETIME_DAYS, create_token
from aegis_site.kernel.audit.models import Origin
from aegis_site.kernel.audit.origin import source


class Command(BaseCommand):
    """`manage.py create_api_token --user admin`: the token on standard output, and nothing else."""

    help = "Create an API token and print it once. It is stored hashed; use it as `Authorization: Token ...`."
    requires_system_checks = []  # `manage.py up` starts without them; they would load all pages

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="name of the user whom the token acts for")
        parser.add_argument("--name", default="Made by create_api_token", help="what it is for (default: %(default)r)")
        parser.add_argument(
            "--scope",
            choices=Scope.values,
            default=Scope.WRITE.value,
            help="whether it may only read (default: %(default)s)",
        )
        parser.add_argument(
            "--days", type=int, default=DEFAULT_LIFETIME_DAYS, help="days until it expires (default: %(default)s)"
        )

    def handle(self, *args: Any, user: str, name: str, scope: str, days: int, **options: Any) -> None:
        if not 1 <= days <= MAX_LIFETIME_DAYS:
            raise CommandError(f"--days must be between 1 and {MAX_LIFETIME_DAYS}")
        if not 1 <= len(name) <= 100:
            raise CommandError("--name must have 1 to 100 characters")
        try:
            owner = User.objects.get(username=user, is_active=True)
        except User.DoesNotExist as error:
            raise CommandError(f"there is no active user {user!r}") from error
        with source(Origin.COMMAND):
            token = create_token(user=owner, name=name, scope=Scope(scope), lifetime_days=days, created_by=None)
        self.stdout.write(token.secret)
