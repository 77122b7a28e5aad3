"""Where commands get passphrases from: a file or a prompt, never an argument, which every user of a machine can see."""

import getpass
import sys

from django.core.management.base import CommandError, CommandParser


def add_passphrase_argument(parser: CommandParser) -> None:
    """`--passphrase-file`; a hyphen asks for it."""
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="file whose first line is the passphrase of the sealed secrets; - asks for it",
    )


def read_passphrase(file_name: str, *, is_new: bool) -> str:
    """The passphrase; a new one that is typed has to be typed twice. Raises CommandError."""
    if file_name != "-":
        try:
            with open(file_name, encoding="utf-8") as file:
                return file.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"the passphrase cannot be read from {file_name}") from error
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the passphrase")
    passphrase = getpass.getpass("Passphrase: ")
    if is_new and getpass.getpass("Again: ") != passphrase:
        raise CommandError("the two passphrases differ")
    return passphrase
