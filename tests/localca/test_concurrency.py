"""Transactions beside each other, on PostgreSQL: SQLite has one at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.database import finished, let_go
from tests.support.polling import eventually
from tests.support.postgresql import PostgreSQL, is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="no PostgreSQL on this machine")

# The certificate is signed, and its transaction goes on when the test says so.
ISSUER = """
from localca import profiles, services
build_leaf = profiles.build_leaf
def build_leaf_and_wait(**arguments):
    leaf = build_leaf(**arguments)
    print("ready", flush=True)
    sys.stdin.readline()
    return leaf
if "wait" in sys.argv:
    profiles.build_leaf = build_leaf_and_wait
print(services.issue_client_certificate(common_name="orders").record.authority_id)
"""

# A new root beside the old one, which is retired; in one transaction that goes on when the test says so, or in two.
CHANGER = """
from contextlib import nullcontext
from django.db import transaction
from localca import hierarchy, retirement, services
old = services.ensure_authority()
is_waiting = "wait" in sys.argv
if not is_waiting:
    print("ready", flush=True)
with transaction.atomic() if is_waiting else nullcontext():
    new = hierarchy.create_root(user=None)
    try:
        retirement.retire_authority(authority=old, user=None)
    except hierarchy.HierarchyError as error:
        print(error.code)
    if is_waiting:
        print("ready", flush=True)
        sys.stdin.readline()
print(new.pk)
"""

INTERMEDIATE = """
from localca import hierarchy
try:
    print(hierarchy.create_intermediate(user=None).parent_id)
except hierarchy.HierarchyError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as running:
        yield running


def test_a_ca_is_not_retired_while_it_issues(server: PostgreSQL, tmp_path: Path) -> None:
    """Once there was a certificate of a CA that was retired a moment before, which the trust bundle had no more."""
    installation = server.installation(tmp_path)
    issuer = installation.start(ISSUER, "wait")
    assert issuer.stdout is not None
    assert issuer.stdout.readline() == "ready\n"
    changer = installation.start(CHANGER)
    assert changer.stdout is not None
    assert changer.stdout.readline() == "ready\n"
    eventually(lambda: server.waiting() or changer.poll() is not None, within_s=60)
    let_go(issuer)
    finished(issuer)
    assert finished(changer).startswith("still_needed\n")


def test_whoever_comes_while_the_root_changes(server: PostgreSQL, tmp_path: Path) -> None:
    """They wait. A certificate is of the new root; an intermediate beneath the old one would be trusted by nobody."""
    installation = server.installation(tmp_path)
    changer = installation.start(CHANGER, "wait")
    assert changer.stdout is not None
    assert changer.stdout.readline() == "ready\n"
    others = [installation.start(script) for script in (ISSUER, INTERMEDIATE)]
    eventually(lambda: server.waiting() == 2 or any(other.poll() is not None for other in others), within_s=60)
    let_go(changer)
    assert [finished(other) for other in others] == [finished(changer), "changed_meanwhile\n"]
