"""What holds for every test process."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.template.base import Template
from django.test import TransactionTestCase

from proxyworker import compiled
from tests.support.saved_database import SavedDatabase

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
    "tests/localca/test_concurrency.py",
    "tests/proxyworker/test_",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the rest, and the tests of each file, stay in their order."""
    items.sort(key=lambda item: not item.nodeid.startswith(_FIRST))


# What a page is put together from; what the view hands to it is in the context of the page itself.
_FRAGMENTS = ("django/forms/", "unfold/components/", "unfold/helpers/", "unfold/widgets/")
# What views answer with, which stands among them.
_ANSWERS = {f"unfold/helpers/{name}.html" for name in ("command_results", "dialog", "search_results")}


@pytest.fixture(scope="session", autouse=True)
def _only_pages_are_recorded(django_test_environment: None) -> Iterator[None]:
    """The test client copies the context of every template: for a form of a thousand, half of all the time it takes."""
    recorded = Template._render

    def render(template: Template, context: Any) -> Any:
        if (template.name or "").startswith(_FRAGMENTS) and template.name not in _ANSWERS:
            return template.nodelist.render(context)
        return recorded(template, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Template, "_render", render)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """After a test with `transaction=True` the database is as it was after the migrations."""
    with django_db_blocker.unblock():
        begin = SavedDatabase()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: begin.put_back())
        yield
    begin.close()


def pytest_unconfigure() -> None:
    """Removes this process's data directory; the processes of xdist end without running exit handlers."""
    shutil.rmtree(settings.AEGIS_DATA_DIR, ignore_errors=True)
