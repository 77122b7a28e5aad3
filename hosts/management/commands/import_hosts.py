"""Makes the hosts of this installation those of a document."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework import exceptions

from aegis_site.kernel.audit.models import Origin
from aegis_site.kernel.audit.origin import source
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.problems import field_errors
from hosts.exchange.envelope import open_envelope
from hosts.exchange.importing import (
    HostOutcome,
    ImportOptions,
    ImportResult,
    OnMissing,
    Outcome,
    finish,
    import_hosts,
)
from hosts.exchange.reading import MAX_DOCUMENT_BYTES, Format, read_document
from hosts.management.passphrases import add_passphrase_argument, read_passphrase

_MARKS = {
    Outcome.CREATED: "+",
    Outcome.CHANGED: "~",
    Outcome.DELETED: "-",
    Outcome.FAILED: "!",
}
_MAX_VALUE_CHARACTERS = 60


class Command(BaseCommand):
    """`manage.py import_hosts hosts.yaml --dry-run` shows what would change, line by line."""

    help = "Create and change hosts as a document says, all of them or none."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="YAML, or JSON when it ends in .json")
        parser.add_argument("--dry-run", action="store_true", help="say what would change and change nothing")
        parser.add_argument(
            "--on-missing",
            choices=[str(choice) for choice in OnMissing],
            default=str(OnMissing.KEEP),
            help="what becomes of hosts that the document does not name (default: %(default)s)",
        )
        parser.add_argument(
            "--delete-count", type=int, metavar="N", help="how many hosts --on-missing delete is to delete"
        )
        parser.add_argument("--user", help="name of the user whose changes these are, for the history")
        add_passphrase_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        user = _user(options["user"])
        try:
            with source(Origin.COMMAND):
                result = self._run(options, user)
        except AegisError as error:
            raise CommandError(error.message) from error
        except (ValidationError, exceptions.ValidationError) as error:
            lines = [f"{problem['field']}: {problem['message']}".removeprefix(": ") for problem in field_errors(error)]
            raise CommandError("nothing was changed:\n  " + "\n  ".join(lines)) from error
        self._report(result)

    def _run(self, options: dict[str, Any], user: User | None) -> ImportResult:
        content = _content(options["file"])
        passphrase_file = options["passphrase_file"]
        passphrase = read_passphrase(passphrase_file, is_new=False) if passphrase_file else ""
        envelope = open_envelope(read_document(content, Format.of_file_name(options["file"])), passphrase=passphrase)
        running = import_hosts(
            envelope.entries,
            sealer=envelope.sealer,
            options=ImportOptions(
                is_dry_run=options["dry_run"],
                on_missing=OnMissing(options["on_missing"]),
                delete_count=options["delete_count"],
                may_issue=True,  # who may run commands here may do anything
            ),
            user=user,
        )
        with click.progressbar(length=len(envelope.entries), label="Hosts", file=sys.stderr) as progress:
            return finish(running, on_progress=lambda done: progress.update(1))

    def _report(self, result: ImportResult) -> None:
        for host in result.hosts:
            for line in _lines(host):
                self.stdout.write(line)
        counts = ", ".join(f"{result.count(outcome)} {outcome}" for outcome in Outcome)
        self.stdout.write(f"{'Would be: ' if result.is_dry_run else ''}{counts}.")
        if result.count(Outcome.FAILED):
            raise CommandError("this document would be refused")


def _lines(host: HostOutcome) -> Iterator[str]:
    if host.outcome is Outcome.UNCHANGED:
        return
    yield f"{_MARKS[host.outcome]} {host.name or host.id}"
    for change in host.changes:
        yield f"    {change['field']}: {_short(change['before'])} -> {_short(change['after'])}"
    for error in host.errors:
        yield f"    {error['field']}: {error['message']}"


def _short(value: Any) -> str:
    """One line of a value."""
    text = "nothing" if value is None else " ".join(str(value).split())
    return text if len(text) <= _MAX_VALUE_CHARACTERS else text[: _MAX_VALUE_CHARACTERS - 1] + "…"


def _content(file_name: str) -> bytes:
    try:
        with Path(file_name).open("rb") as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file_name} cannot be read: {error.strerror}") from error


def _user(name: str | None) -> User | None:
    if name is None:
        return None
    try:
        return User.objects.get(username=name, is_active=True)
    except User.DoesNotExist as error:
        raise CommandError(f"there is no active user {name!r}") from error
