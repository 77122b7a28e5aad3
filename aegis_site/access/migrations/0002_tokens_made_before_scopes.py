"""Takes over the tokens in knox's own table, from before tokens had a name and a scope (docs/adr/0020).

No migration makes that table any more, so it is there only where an older Aegis made it. It stays, empty: a token that is
revoked from now on must not come back with it.
"""

import datetime

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils import timezone

OLD_TABLE = "knox_authtoken"
NAME = "Made before tokens had names"
# knox allows tokens without an end; these get what new ones get.
LIFETIME = datetime.timedelta(days=365)


def take_over(apps, schema_editor):
    database = schema_editor.connection.alias
    if not _has_old_table(schema_editor):
        return
    OldToken, ApiToken = (apps.get_model("access", name) for name in ("OldToken", "ApiToken"))
    for old in OldToken.objects.using(database).iterator():
        token = ApiToken.objects.using(database).create(
            digest=old.digest,
            token_key=old.token_key,
            user_id=old.user_id,
            name=NAME,
            scope="write",  # it could do all that its user could
            expiry=old.expiry or timezone.now() + LIFETIME,
        )
        ApiToken.objects.using(database).filter(pk=token.pk).update(created=old.created)
    OldToken.objects.using(database).all().delete()


def give_back(apps, schema_editor):
    """Those that may only read stay behind: the older Aegis would let them write."""
    database = schema_editor.connection.alias
    if not _has_old_table(schema_editor):
        return
    OldToken, ApiToken = (apps.get_model("access", name) for name in ("OldToken", "ApiToken"))
    given_back = ApiToken.objects.using(database).filter(scope="write")
    for token in given_back.iterator():
        old = OldToken.objects.using(database).create(
            digest=token.digest, token_key=token.token_key, user_id=token.user_id, expiry=token.expiry
        )
        OldToken.objects.using(database).filter(pk=old.pk).update(created=token.created)
    given_back.delete()


def _has_old_table(schema_editor):
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        return OLD_TABLE in connection.introspection.table_names(cursor)


class Migration(migrations.Migration):

    dependencies = [
        ("access", "0001_api_token"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OldToken",
            fields=[
                ("digest", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("token_key", models.CharField(max_length=25)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("expiry", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": OLD_TABLE, "managed": False},
        ),
        migrations.RunPython(take_over, give_back),
        migrations.DeleteModel(name="OldToken"),
    ]
