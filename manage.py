#!/usr/bin/env python3
"""Aegis's command line. `manage.py up` starts everything; `manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    # The data plane carries traffic only: it runs without the admin, DRF and Celery in memory.
    lean = sys.argv[1:2] == ["runproxy"]
    module = "aegis_site.settings_proxy" if lean else "aegis_site.settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", module)
    from django.core.management import execute_from_command_line  # noqa: PLC0415 (after the settings module is named)

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
