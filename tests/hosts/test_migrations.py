"""An upgrade from the Aegis that stored the values of header rules in clear, and the way back."""

import json
from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from hosts.traffic_models import TrafficConfiguration

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("hosts", "0007_header_secrets")]
AFTER = [("hosts", "0008_seal_header_values")]
PLAIN = {"action": "set", "name": "X-Team", "value": "orders"}
REMOVED = {"action": "remove", "name": "Cookie", "value": ""}
SECRETS = [
    {"action": "set", "name": "Authorization", "value": "Bearer canary-1"},
    {"action": "add", "name": "Set-Cookie", "value": "a=canary-2"},
]


def migrate(targets: list[tuple[str, str]]) -> None:
    MigrationExecutor(connection).migrate(targets)


@pytest.fixture
def upgraded() -> Iterator[TrafficConfiguration]:
    """A host whose rules were there before the upgrade."""
    migrate(BEFORE)
    # The host of that time: the one of today has columns that came later.
    host_model = MigrationExecutor(connection).loader.project_state(BEFORE).apps.get_model("hosts", "Host")
    host = host_model.objects.create(name="orders")
    TrafficConfiguration.objects.create(
        host_id=host.pk, request_headers=[PLAIN, SECRETS[0], REMOVED], response_headers=[SECRETS[1]]
    )
    migrate(AFTER)
    yield TrafficConfiguration.objects.get()
    # What was made for all other tests stands on these tables, in other apps too.
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def test_what_looks_like_a_credential_is_sealed(upgraded: TrafficConfiguration) -> None:
    """And nothing else; no value is left in clear."""
    assert [upgraded.request_headers[0], upgraded.request_headers[2]] == [PLAIN, REMOVED]
    names = [upgraded.request_headers[1]["secret"], upgraded.response_headers[0]["secret"]]
    assert upgraded.header_secrets is not None
    assert json.loads(upgraded.header_secrets.reveal()) == dict(
        zip(names, [rule["value"] for rule in SECRETS], strict=True)
    )
    assert "canary" not in json.dumps([upgraded.request_headers, upgraded.response_headers])


def test_the_older_aegis_finds_what_it_knows(upgraded: TrafficConfiguration) -> None:
    """The way back opens them."""
    migrate(BEFORE)
    restored = TrafficConfiguration.objects.get()
    assert restored.request_headers == [PLAIN, SECRETS[0], REMOVED]
    assert restored.response_headers == [SECRETS[1]]
    assert restored.header_secrets is None
