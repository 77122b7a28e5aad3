"""What `/hosts/export` and `/hosts/import` take and answer, but for the documents themselves."""

from typing import Any

from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from aegis_site.kernel.audit.api import ChangeSerializer
from aegis_site.kernel.openapi import FieldErrorSerializer
from aegis_site.kernel.serializers import QuerySerializer
from hosts.exchange.importing import OnMissing, Outcome
from hosts.exchange.sealing import MAX_PASSPHRASE_CHARACTERS, MIN_PASSPHRASE_CHARACTERS


class PassphraseSerializer(StrictSerializer[Any]):
    """What the secrets of an export are sealed to."""

    # No CharField takes a NUL; here the OpenAPI document has to say so, for everything else is accepted.
    passphrase = serializers.RegexField(
        r"^[^\x00]*$",
        write_only=True,
        trim_whitespace=False,
        min_length=MIN_PASSPHRASE_CHARACTERS,
        max_length=MAX_PASSPHRASE_CHARACTERS,
    )


class ImportOptionsSerializer(QuerySerializer):
    """The query of an import."""

    dry_run = serializers.BooleanField(default=False, help_text="Answers what would be done, and does nothing.")
    on_missing = serializers.ChoiceField(
        choices=[str(choice) for choice in OnMissing],
        default=OnMissing.KEEP.value,
        help_text="What becomes of hosts that the document does not name. delete needs delete_count.",
    )
    delete_count = serializers.IntegerField(
        required=False, min_value=0, max_value=1_000_000, help_text="How many hosts are to be deleted, as a guard."
    )


class ImportedHostSerializer(serializers.Serializer[Any]):
    """What becomes of one host. `position` is its place in the document; a host that is deleted has none."""

    position = serializers.IntegerField(allow_null=True)
    id = serializers.CharField(allow_blank=True)
    name = serializers.CharField(allow_blank=True)
    outcome = serializers.ChoiceField(choices=[str(outcome) for outcome in Outcome])
    changes = ChangeSerializer(many=True)
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]


class ImportResultSerializer(serializers.Serializer[Any]):
    """What an import did, or would do."""

    dry_run = serializers.BooleanField()
    created = serializers.IntegerField()
    changed = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    deleted = serializers.IntegerField()
    failed = serializers.IntegerField()
    hosts = ImportedHostSerializer(many=True)
