"""From one entry of a document to a spec, with the secrets that the document has, or that are kept.

Laws of this module:
- All errors of an entry at once, keyed by path within the entry. Only when its secrets are as they should be, the rest
  is looked at.
- What was left out of a document is what is stored; when nothing is, that is an error and no empty value.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import exceptions

from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.problems import field_errors
from hosts.api.serializers import HostSerializer, spec_of
from hosts.exchange.documents import KEY_PLACES, Secret, SecretWriter, left_out, rule_place
from hosts.exchange.sealing import PassphraseSealer, SealedValueUnreadable
from hosts.field_errors import FieldErrors
from hosts.header_secrets import rule_key
from hosts.models import Host
from hosts.specs import HostSpec
from hosts.traffic import RULES


class IncomingEntries:
    """Reads the entries of one document. One object for all of them: the serializer's fields are made once."""

    def __init__(self, sealer: PassphraseSealer | None) -> None:
        self._sealer = sealer
        self._serializer = HostSerializer()

    def secrets_as_in(self, entry: dict[str, Any]) -> SecretWriter:
        """Writes a stored secret as `entry` has it sealed, if it has the same; else only that there is one."""

        def write(secret: Secret) -> dict[str, Any]:
            for sealed in _sealed_values(entry, secret.place):
                if self._is_sealed_in(secret, sealed):
                    return {f"{secret.name}_sealed": sealed}
            return left_out(secret)

        return write

    def _is_sealed_in(self, secret: Secret, sealed: str) -> bool:
        if self._sealer is None:
            return False
        try:
            return self._sealer.open(sealed, host_id=secret.host_id, place=secret.place) == secret.reveal()
        except (SealedValueUnreadable, SecretUnreadable):  # whatever it is, it is not the same
            return False

    def spec_of(self, entry: dict[str, Any], *, stored: Host | None) -> HostSpec:
        """What an entry asks for. `stored` is the host that it replaces. Raises ValidationError."""
        document = _Secrets(entry, stored, self._sealer).filled_in()
        try:
            return spec_of(self._serializer.run_validation(document), is_whole=True)
        except exceptions.ValidationError as error:
            problems: dict[str, list[ValidationError]] = {}
            for problem in field_errors(error):
                problems.setdefault(problem["field"], []).append(ValidationError(problem["message"], problem["code"]))
            raise ValidationError(problems) from error


class _Secrets:
    """The secrets of one entry. Values of another shape than theirs are left to the serializer."""

    def __init__(self, entry: dict[str, Any], stored: Host | None, sealer: PassphraseSealer | None) -> None:
        self._entry = entry
        self._host_id = str(entry.get("id"))
        self._stored = stored
        self._sealer = sealer
        self._errors = FieldErrors()

    def filled_in(self) -> dict[str, Any]:
        """A copy of the entry in which secrets stand as the API takes them. Raises ValidationError."""
        document = dict(self._entry)
        for section, name in KEY_PLACES:
            if isinstance(document.get(section), dict):
                document[section] = self._with_key(document[section], section, name)
        for direction in RULES:
            if isinstance(document.get(direction), list):
                document[direction] = self._with_values(document[direction], direction)
        self._errors.raise_if_any()
        return document

    def _with_key(self, part: dict[str, Any], section: str, name: str) -> dict[str, Any]:
        part = dict(part)
        path = f"{section}.{name}"
        is_sealed = f"{name}_sealed" in part
        sealed = part.pop(f"{name}_sealed", None)
        if name in part:
            return part
        with self._errors.under(path):
            if is_sealed:
                part[name] = self._opened(sealed, path)
            elif part.get(f"{name}_set") is True and not self._has_stored_key(section):
                raise _left_out("This host has no key here that could be kept.")
            elif part.get(f"{name}_set") is False:
                part[name] = ""
        return part

    def _with_values(self, rules: list[Any], direction: str) -> list[Any]:
        filled = []
        for position, rule in enumerate(rules):
            with self._errors.under(f"{direction}[{position}].value"):
                filled.append(self._with_value(rule, direction) if isinstance(rule, dict) else rule)
        return filled

    def _with_value(self, rule: dict[str, Any], direction: str) -> dict[str, Any]:
        """Of several rules for one field, which one keeps which value is decided as for any PUT."""
        if "value_sealed" not in rule:
            is_left_out = "value" not in rule and rule.get("value_set") is True
            if is_left_out and not self._has_stored_rule(rule, direction):
                raise _left_out("This host has no such rule whose value could be kept.")
            return rule
        filled = {name: value for name, value in rule.items() if name != "value_sealed"}
        place = rule_place(direction, str(rule.get("name")))
        return {**filled, "value": self._opened(rule["value_sealed"], place), "sensitive": True}

    def _opened(self, sealed: Any, place: str) -> str:
        if self._sealer is None:
            raise ValidationError("This value is sealed: its passphrase is needed.", code="passphrase_required")
        try:
            return self._sealer.open(sealed if isinstance(sealed, str) else "", host_id=self._host_id, place=place)
        except SealedValueUnreadable as error:
            raise ValidationError(error.message, code=error.code) from error

    def _has_stored_key(self, section: str) -> bool:
        if self._stored is None:
            return False
        if section == "upstream_tls":
            return self._stored.upstream_configuration.has_client_key
        return self._stored.downstream_configuration.has_key

    def _has_stored_rule(self, rule: dict[str, Any], direction: str) -> bool:
        if self._stored is None:
            return False
        stored = getattr(self._stored.traffic_configuration, direction)
        return _rule_key(rule) in map(_rule_key, stored)


def _sealed_values(entry: dict[str, Any], place: str) -> Iterator[str]:
    """What an entry has sealed at a place; of the header rules for one field, each may have another value."""
    section, _, name = place.partition(".")
    part = entry.get(section)
    if section not in RULES:
        found = [part.get(f"{name}_sealed")] if isinstance(part, dict) else []
    else:
        rules = [rule for rule in part if isinstance(rule, dict)] if isinstance(part, list) else []
        found = [rule.get("value_sealed") for rule in rules if str(rule.get("name")).lower() == name]
    return (value for value in found if isinstance(value, str))


def _rule_key(rule: Mapping[str, Any]) -> tuple[str, str]:
    return rule_key(str(rule.get("action")), str(rule.get("name")))


def _left_out(message: str) -> ValidationError:
    return ValidationError(f"The document leaves this value out. {message}", code="secret_left_out")
