"""An upgrade from the Aegis that had knox's own tokens, and the way back."""

import datetime
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone
from knox.crypto import hash_token

from aegis_site.access.models import ApiToken, Scope
from aegis_site.access.services import create_token

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("access", "0001_api_token")]
AFTER = [("access", "0002_tokens_made_before_scopes")]
# What today's code needs.
LATEST = [("access", "0004_old_sessions_are_over")]
CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# As knox's last migration left it.
OLD_TABLE = (
    "CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, created datetime NOT NULL, "
    "user_id integer NOT NULL REFERENCES auth_user (id) DEFERRABLE INITIALLY DEFERRED, "
    "expiry datetime NULL, token_key varchar(25) NOT NULL)"
)


def migrate(targets: list[tuple[str, str]]) -> None:
    MigrationExecutor(connection).migrate(targets)


def old_digests() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT digest FROM knox_authtoken")
        return {row[0] for row in cursor.fetchall()}


def add_old_token(user: User, token: str, expiry: datetime.datetime | None) -> None:
    adapted = [connection.ops.adapt_datetimefield_value(moment) for moment in (CREATED, expiry)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO knox_authtoken (digest, token_key, user_id, created, expiry) VALUES (%s, %s, %s, %s, %s)",
            [hash_token(token), token[:15], user.pk, *adapted],
        )


@pytest.fixture
def admin() -> Iterator[User]:
    """Of an installation before the upgrade."""
    migrate(BEFORE)
    with connection.cursor() as cursor:
        cursor.execute(OLD_TABLE)
    yield User.objects.create_superuser("admin")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE knox_authtoken")
    # What was made for all other tests stands on these tables, in other apps too.
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def test_old_tokens_go_on_working(admin: User, client: Client) -> None:
    """With all rights of their user, as before; one without an end gets one. The user can be deleted with them."""
    expiry = timezone.now() + datetime.timedelta(days=3)
    add_old_token(admin, "01" * 32, expiry)
    add_old_token(admin, "23" * 32, None)
    migrate(LATEST)
    ending, endless = ApiToken.objects.order_by("expiry")
    assert (ending.user, ending.scope, ending.created, ending.expiry) == (admin, "write", CREATED, expiry)
    assert ending.name == "Made before tokens had names"
    assert 364 <= (endless.expiry - timezone.now()).days <= 365
    for token in ("01" * 32, "23" * 32):
        headers = {"Authorization": f"Token {token}"}
        assert client.get("/api/v1/hosts", headers=headers).status_code == 200
        assert client.post("/api/v1/hosts", {}, "application/json", headers=headers).status_code == 400
    assert old_digests() == set()
    admin.delete()
    assert not ApiToken.objects.exists()


def test_a_step_back_gives_them_back(admin: User) -> None:
    """Those that may write; one that may only read would gain rights there. A step forward finds all of them again."""
    add_old_token(admin, "01" * 32, None)
    migrate(AFTER)
    token = create_token(user=admin, name="reads", scope=Scope.READ, lifetime_days=1, created_by=None)
    migrate(BEFORE)
    assert old_digests() == {hash_token("01" * 32)}
    assert [kept.digest for kept in ApiToken.objects.all()] == [token.digest]
    migrate(AFTER)
    assert {kept.digest for kept in ApiToken.objects.all()} == {token.digest, hash_token("01" * 32)}


def test_a_new_installation_has_no_old_table() -> None:
    """Nothing makes it any more."""
    assert "knox_authtoken" not in connection.introspection.table_names()
