#!/usr/bin/env python3
"""Aegis's command line. `manage.py up` starts everything; `manage.py help` lists the rest."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from aegis_site.data_directory import DataDirectoryProblem, ensure_data_directory
from aegis_site.environment import read_environment
from aegis_site.kernel.audit.origin import Origin, source

FIRST_RUN_COMMANDS = ("prepare", "up", "demo")
# Each loads no more than it uses: the data plane carries traffic only, and who sets up sees no page.
SETTINGS = {
    "runproxy": "aegis_site.settings_proxy",
    **dict.fromkeys((*FIRST_RUN_COMMANDS, "create_api_token"), "aegis_site.settings_command"),
}


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS.get(command, "aegis_site.settings"))
    try:
        if command in FIRST_RUN_COMMANDS:
            # Before Django is set up, which does not work without the secrets.
            for line in ensure_data_directory(read_environment()):
                print(line)  # noqa: T201 (to the person at the terminal)
        with source(Origin.COMMAND):
            execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, DataDirectoryProblem) as problem:
        sys.exit(f"aegis: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
