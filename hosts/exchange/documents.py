"""The document of a host: what PUT takes, with ids, and of its secrets what the caller decides.

Laws of this module:
- The fields are those of the API's serializers. What is only read is left out, so that the same host always gives the
  same document; a field that is new there is new here.
- Private keys, and the sensitive values of header rules, are secrets. No function here returns one in clear.
- The keys of certificate requests are no part of it, not even sealed: a request belongs to the installation that made
  it, and another one is made in a moment.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.utils import timezone
from rest_framework import serializers

from aegis_site.kernel.fields import Sealed
from hosts.api.serializers import HostSerializer
from hosts.exchange.sealing import PassphraseSealer
from hosts.header_secrets import HeaderSecrets
from hosts.models import Host
from hosts.traffic import RULES

EXPORT_VERSION = 1

# Section and name of each key.
KEY_PLACES = (("upstream_tls", "client_key"), ("downstream_tls", "key"))

_READ_BUT_KEPT = frozenset({"id", *(f"{name}_set" for _, name in KEY_PLACES)})

HIDDEN = "••••••"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One secret of a host. `place` names it there."""

    host_id: str
    place: str
    name: str
    reveal: Callable[[], str] = field(repr=False)
    # Names the secret without giving it away; equal for equal secrets.
    identity: object = field(repr=False)


# What stands in the document for a secret.
SecretWriter: TypeAlias = Callable[[Secret], dict[str, Any]]


def left_out(secret: Secret) -> dict[str, Any]:
    """Only that there is one."""
    return {f"{secret.name}_set": True}


def sealed_with(sealer: PassphraseSealer) -> SecretWriter:
    """Sealed to a passphrase."""
    return lambda secret: {
        f"{secret.name}_sealed": sealer.seal(secret.reveal(), host_id=secret.host_id, place=secret.place)
    }


@dataclass(frozen=True, slots=True)
class Hidden:
    """Stands for a secret where documents are compared: equal when the secrets are."""

    _identity: object = field(repr=False)


def comparable(secret: Secret) -> dict[str, Any]:
    """To be compared with another document, and then shown by `masked`."""
    return {secret.name: Hidden(secret.identity)}


def masked(value: Any) -> Any:
    """A part of a comparable document as it may be shown."""
    match value:
        case Hidden():
            return HIDDEN
        case dict():
            return {name: masked(item) for name, item in value.items()}
        case list():
            return [masked(item) for item in value]
    return value


class HostDocuments:
    """Makes documents of hosts. One object for many of them: its fields are made once."""

    def __init__(self) -> None:
        self._serializer = HostSerializer()
        _leave_out_what_is_only_read(self._serializer)

    def document_of(self, host: Host, write: SecretWriter) -> dict[str, Any]:
        """The document of a stored host. No query when `with_configuration` was used. Raises SecretUnreadable."""
        document: dict[str, Any] = self._serializer.to_representation(host)
        keys = (
            (host.upstream_configuration.client_key, host.upstream_configuration.client_key_spki_sha256),
            (host.downstream_configuration.key, host.downstream_configuration.key_spki_sha256),
        )
        for (section, name), (key, fingerprint) in zip(KEY_PLACES, keys, strict=True):
            if key is not None:
                document[section].update(write(_key(host, f"{section}.{name}", name, key, fingerprint)))
        for direction in RULES:
            stored = getattr(host.traffic_configuration, direction)
            for rule, as_stored in zip(document[direction], stored, strict=True):
                if "secret" in as_stored:
                    rule.update(write(_value(host, rule_place(direction, rule["name"]), as_stored["secret"])))
        return document


def rule_place(direction: str, field_name: str) -> str:
    """The place of the value of a header rule; rules may be put into another order."""
    return f"{direction}.{field_name.lower()}"


def export_document(hosts: Iterable[Host], *, sealer: PassphraseSealer | None = None) -> dict[str, Any]:
    """The document of `hosts`, read `with_configuration`, in their order; secrets are left out or sealed.

    Raises SecretUnreadable.
    """
    documents = HostDocuments()
    write = sealed_with(sealer) if sealer else left_out
    head: dict[str, Any] = {"aegis_export": EXPORT_VERSION, "exported_at": timezone.now().isoformat()}
    if sealer:
        head["sealing"] = sealer.header
    return {**head, "hosts": [documents.document_of(host, write) for host in hosts]}


def _key(host: Host, place: str, name: str, key: Sealed, fingerprint: str) -> Secret:
    return Secret(
        host_id=str(host.pk), place=place, name=name, reveal=lambda: key.reveal().decode(), identity=fingerprint
    )


def _value(host: Host, place: str, secret: str) -> Secret:
    secrets = HeaderSecrets(host.traffic_configuration.header_secrets, ())
    return Secret(
        host_id=str(host.pk), place=place, name="value", reveal=lambda: secrets.open()[secret], identity=secret
    )


def _leave_out_what_is_only_read(serializer: serializers.Serializer[Any]) -> None:
    for name, item in list(serializer.fields.items()):
        inner = item.child if isinstance(item, serializers.ListSerializer) else item
        if isinstance(inner, serializers.Serializer):
            _leave_out_what_is_only_read(inner)
        elif item.read_only and name not in _READ_BUT_KEPT:
            del serializer.fields[name]
