"""The values of header rules that are secrets: sealed in one column, apart from the rules.

Laws of this module:
- A stored rule has its `value`, or, when that is a secret, `secret`: the name under which the sealed column has it.
- A name is random and each new value gets a new one. So it tells whether a value changed without telling which it is,
  and may stand in audit rows and compiled entries (docs/adr/0026).
- Nothing is opened but to write something new. Saves nothing.
"""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from django.core.exceptions import ValidationError

from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from aegis_site.kernel.masking import is_sensitive_field
from hosts.specs import HeaderRuleSpec
from hosts.traffic_models import StoredRule
from upstream_tls.changes import Keep


def names_of(rules: Iterable[StoredRule]) -> set[str]:
    """The names of the secrets of these rules."""
    return {rule["secret"] for rule in rules if "secret" in rule}


class HeaderSecrets:
    """The sealed values of one host, and those that are to be added."""

    def __init__(self, sealed: Sealed | None, names: Collection[str]) -> None:
        """`names` are those of the rules as stored."""
        self._sealed = sealed
        self._names = frozenset(names)
        self._added: dict[str, str] = {}

    def open(self) -> dict[str, str]:
        """The stored values by name. Raises SecretUnreadable."""
        values: dict[str, str] = json.loads(self._sealed.reveal()) if self._sealed is not None else {}
        return values

    def name_for(self, value: str, known: str) -> str:
        """The name of `value`: `known` when that has it already."""
        if known and self._has(known, value):
            return known
        name = uuid.uuid4().hex
        self._added[name] = value
        return name

    def sealed_with(self, names: Collection[str]) -> Sealed | None:
        """What to store for rules with these names. Raises SecretUnreadable when a value to be kept does not open."""
        if not names:
            return None
        if self._names == frozenset(names):
            return self._sealed
        is_any_kept = not self._added.keys() >= set(names)
        values = (self.open() if is_any_kept else {}) | self._added
        if not values.keys() >= set(names):
            raise SecretUnreadable("secret_damaged", "a value that a rule names is not there")
        return Sealed.of(json.dumps({name: values[name] for name in sorted(names)}))

    def _has(self, name: str, value: str) -> bool:
        try:
            return self.open().get(name) == value
        except SecretUnreadable:
            return False  # the new value replaces it


class RulesAsStored:
    """Which stored rule a new one of the same direction replaces: that of its action and name, in order."""

    def __init__(self, stored: Iterable[StoredRule], rules: Iterable[HeaderRuleSpec]) -> None:
        self._stored: dict[tuple[str, str], list[StoredRule]] = defaultdict(list)
        for rule in stored:
            self._stored[rule_key(rule["action"], rule["name"])].append(rule)
        counts = Counter(rule_key(rule.action, rule.name) for rule in rules)
        # With one of several gone, order does not say which of them is meant.
        self._ambiguous = {key for key, found in self._stored.items() if 1 < len(found) != counts[key]}

    def stored(self, rule: HeaderRuleSpec, secrets: HeaderSecrets) -> StoredRule:
        """A rule as it is to be stored if it may. Call it for each rule in order. Raises ValidationError."""
        key = rule_key(rule.action, rule.name)
        plain = {"action": rule.action, "name": rule.name}
        if rule.action == "remove":
            return {**plain, "value": ""}
        known = self._stored[key].pop(0) if self._stored[key] else {}
        value = rule.value
        if isinstance(value, Keep):
            if key in self._ambiguous:
                message = "This host had another number of such rules: enter the value of each."
                raise ValidationError({"value": ValidationError(message, code="ambiguous")})
            if not known:
                message = "Enter a value: this host has no such rule whose value could be kept."
                raise ValidationError({"value": ValidationError(message, code="required")})
            if "secret" in known:
                return {**plain, "secret": known["secret"]}
            value = known["value"]
        if rule.sensitive or is_sensitive_field(rule.name, value):
            return {**plain, "secret": secrets.name_for(value, known.get("secret", ""))}
        return {**plain, "value": value}


def rule_key(action: str, name: str) -> tuple[str, str]:
    """By what the rule is found whose value is kept."""
    return action, name.lower()
