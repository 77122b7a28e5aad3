"""Prints one new API token of a user."""

import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from knox.models import AuthToken


class Command(BaseCommand):
    """`manage.py create_api_token --user admin`: the token on standard output, and nothing else."""

    help = "Create an API token and print it once. It is stored hashed; use it as `Authorization: Token ...`."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="name of the user whom the token acts for")
        parser.add_argument("--days", type=int, default=365, help="days until it expires (default: %(default)s)")

    def handle(self, *args: Any, user: str, days: int, **options: Any) -> None:
        if not 1 <= days <= 3650:
            raise CommandError("--days must be between 1 and 3650")
        try:
            owner = User.objects.get(username=user, is_active=True)
        except User.DoesNotExist as error:
            raise CommandError(f"there is no active user {user!r}") from error
        _, token = AuthToken.objects.create(user=owner, expiry=datetime.timedelta(days=days))
        self.stdout.write(token)
