"""Empties the table in which sessions were before: nobody reads it any more, and their keys should not lie about.

Everybody signs in once more after this (docs/adr/0041).
"""

from django.db import migrations


def forget(apps, schema_editor):
    apps.get_model("sessions", "Session").objects.using(schema_editor.connection.alias).all().delete()


class Migration(migrations.Migration):

    dependencies = [
        ("access", "0003_sessions_and_second_factors"),
        ("sessions", "0001_initial"),
    ]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop)]
