"""What stands around the hosts of a document: version, sealing, and on its way in a passphrase."""

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import exceptions, serializers

from aegis_site.kernel.api import StrictSerializer
from hosts.exchange.documents import EXPORT_VERSION
from hosts.exchange.sealing import MAX_PASSPHRASE_CHARACTERS, PassphraseSealer, PassphraseUnusable

MAX_HOSTS = 10_000


class SealingSerializer(StrictSerializer[Any]):
    """How the secrets of a document were sealed."""

    version = serializers.IntegerField()
    salt = serializers.CharField(max_length=100)
    check = serializers.CharField(max_length=100)


class ExportedHostsSerializer(serializers.Serializer[Any]):
    """A document of hosts: each as PUT takes it, with `id`.

    Of a secret it says `client_key_set`, `key_set` or `value_set`, or has it as `client_key_sealed`, `key_sealed` or
    `value_sealed`.
    """

    aegis_export = serializers.IntegerField(help_text="The version of the format, 1.")
    exported_at = serializers.CharField()
    sealing = SealingSerializer(required=False)
    hosts = serializers.ListField(child=serializers.DictField())


class HostsToImportSerializer(StrictSerializer[Any]):
    """As it was exported, or written by hand. `passphrase` opens its sealed values and is not stored."""

    aegis_export = serializers.IntegerField(min_value=EXPORT_VERSION, max_value=EXPORT_VERSION)
    exported_at = serializers.CharField(required=False, allow_blank=True, max_length=100)
    sealing = SealingSerializer(required=False)
    passphrase = serializers.CharField(
        required=False, write_only=True, trim_whitespace=False, max_length=MAX_PASSPHRASE_CHARACTERS
    )
    hosts = serializers.ListField(child=serializers.DictField(), max_length=MAX_HOSTS)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The entries of a document, and what opens their sealed values."""

    entries: list[dict[str, Any]]
    sealer: PassphraseSealer | None = field(repr=False)


def open_envelope(document: Any, *, passphrase: str = "") -> Envelope:
    """Checks what stands around the hosts. `passphrase` goes before one in the document.

    Raises rest_framework's ValidationError, and django's for a passphrase that does not open the document.
    """
    if not isinstance(document, dict):
        raise exceptions.ValidationError("A document of hosts is a mapping with aegis_export and hosts.")
    serializer = HostsToImportSerializer(data=document)
    serializer.is_valid(raise_exception=True)
    checked = serializer.validated_data
    passphrase = passphrase or checked.get("passphrase", "")
    sealer = None
    if passphrase and "sealing" in checked:
        try:
            sealer = PassphraseSealer.of_document(passphrase, checked["sealing"])
        except PassphraseUnusable as error:
            raise ValidationError({"passphrase": ValidationError(error.message, code=error.code)}) from error
    return Envelope(checked["hosts"], sealer)
