"""What holds for every test process."""

import os
import shutil

import pytest
from django.conf import settings

from proxyworker import compiled

# `make pytest-compiled` sets it to 1: for this process, and for the workers that it starts.
if os.environ.setdefault("TESTS_COMPILED", "0") == "1" and not compiled.use():
    raise RuntimeError("there is no build of the present sources: make compile")


# Files that take long: one that began last would have the other processes wait for it. `make pytest` keeps this order.
_FIRST = (
    "tests/e2e/",
    "tests/hosts/test_many_hosts.py",
    "tests/aegis_site/api_conformance/",
    "tests/docs/",
    "tests/bench/",
    "tests/proxyworker/test_",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the rest, and the tests of each file, stay in their order."""
    items.sort(key=lambda item: not item.nodeid.startswith(_FIRST))


def pytest_unconfigure() -> None:
    """Removes this process's data directory; the processes of xdist end without running exit handlers."""
    shutil.rmtree(settings.AEGIS_DATA_DIR, ignore_errors=True)
