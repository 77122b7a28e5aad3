"""What holds for every test process."""

import shutil

from django.conf import settings


def pytest_unconfigure() -> None:
    """Removes this process's data directory; the processes of xdist end without running exit handlers."""
    shutil.rmtree(settings.AEGIS_DATA_DIR, ignore_errors=True)
