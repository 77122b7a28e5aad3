"""Seals the values of header rules that look like credentials (docs/adr/0026).

What was compiled of them goes when the hosts are compiled for the new schema, by the first sweep after the start.
"""

import json
import uuid

from django.db import migrations

from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.masking import is_sensitive_field

RULES = ("request_headers", "response_headers")


def seal(apps, schema_editor):
    for row in _rows(apps, schema_editor).all().iterator(chunk_size=200):
        values = {}
        for column in RULES:
            setattr(row, column, [_without_value(rule, values) for rule in getattr(row, column)])
        if values:
            row.header_secrets = Sealed.of(json.dumps(values))
            row.save(update_fields=[*RULES, "header_secrets"])


def unseal(apps, schema_editor):
    """Into the columns again, in clear: the older Aegis knows nothing else."""
    for row in _rows(apps, schema_editor).exclude(header_secrets__isnull=True).iterator(chunk_size=200):
        values = json.loads(row.header_secrets.reveal())
        for column in RULES:
            setattr(row, column, [_with_value(rule, values) for rule in getattr(row, column)])
        row.header_secrets = None
        row.save(update_fields=[*RULES, "header_secrets"])


def _rows(apps, schema_editor):
    return apps.get_model("hosts", "TrafficConfiguration").objects.using(schema_editor.connection.alias)


def _without_value(rule, values):
    if rule["action"] == "remove" or not is_sensitive_field(rule["name"], rule["value"]):
        return rule
    name = uuid.uuid4().hex
    values[name] = rule["value"]
    return {"action": rule["action"], "name": rule["name"], "secret": name}


def _with_value(rule, values):
    if "secret" not in rule:
        return rule
    return {"action": rule["action"], "name": rule["name"], "value": values[rule["secret"]]}


class Migration(migrations.Migration):
    dependencies = [("hosts", "0007_header_secrets")]

    operations = [migrations.RunPython(seal, unseal)]
