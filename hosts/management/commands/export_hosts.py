"""Writes the hosts of this installation as a document."""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aegis_site.kernel.audit.models import Origin
from aegis_site.kernel.audit.origin import source
from aegis_site.kernel.errors import AegisError
from hosts.exchange.documents import export_document
from hosts.exchange.exporting import export_sealed
from hosts.exchange.reading import Format, write_document
from hosts.management.passphrases import add_passphrase_argument, read_passphrase
from hosts.models import Host


class Command(BaseCommand):
    """`manage.py export_hosts --output hosts.yaml`; private keys are in it only with a passphrase, and sealed."""

    help = "Export all hosts as YAML or JSON. Secrets are left out, or sealed to a passphrase."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=[str(form) for form in Format], help="default: by the file, else yaml")
        parser.add_argument("--output", metavar="FILE", help="file to write, readable by you alone; default: stdout")
        add_passphrase_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        output: str | None = options["output"]
        form = Format(options["format"] or Format.of_file_name(output or ""))
        try:
            with source(Origin.COMMAND):
                text = write_document(_document(options["passphrase_file"]), form)
        except AegisError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if output is None:
            self.stdout.write(text, ending="")
            return
        try:
            _write_privately(Path(output), text)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from error


def _document(passphrase_file: str | None) -> dict[str, Any]:
    hosts = Host.objects.with_configuration()
    if passphrase_file is None:
        return export_document(hosts)
    return export_sealed(list(hosts), passphrase=read_passphrase(passphrase_file, is_new=True), user=None)


def _write_privately(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others: not even a file that was there before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
