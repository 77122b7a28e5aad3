"""Changes to header fields that an operator asks for: what they may be, and how a person writes them.

Laws of this module:
- No rule names a field by which the worker frames a message, chooses a host, or says who the client is.
- A value is one line of visible ASCII: nothing that a parser could take for the end of a field (RFC 9110 section 5.5).
- Refusals are django ValidationErrors keyed by `action`, `name` and `value`; in a text they name the line.
"""

import re
from collections.abc import Iterable, Mapping, Sized
from enum import StrEnum

from django.core.exceptions import ValidationError

from hosts.specs import HeaderRuleSpec
from proxyworker.snapshot import FORWARDED_PREFIX, RESERVED_REQUEST_FIELDS, RESERVED_RESPONSE_FIELDS

MAX_RULES = 50
MAX_NAME_CHARACTERS = 200
MAX_VALUE_CHARACTERS = 4096

ACTIONS = ("set", "add", "remove")

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 section 5.5 without obs-text and tabs.
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")

_SYNTAX = "Write “set Name: value”, “add Name: value” or “remove Name”."


class Direction(StrEnum):
    """Whose header section a rule changes."""

    REQUEST = "request"
    RESPONSE = "response"


_RESERVED = {Direction.REQUEST: RESERVED_REQUEST_FIELDS, Direction.RESPONSE: RESERVED_RESPONSE_FIELDS}
_INSTEAD = {
    "host": "Use Preserve Host Header or Server Name Override.",
    "strict-transport-security": "Use HSTS.",
}


def clean_header_rule(rule: HeaderRuleSpec, direction: Direction) -> HeaderRuleSpec:
    """The rule as it stands, if it may. Raises ValidationError with every error."""
    errors = {}
    for name, clean in (("action", _check_action), ("name", _check_name), ("value", _check_value)):
        try:
            clean(rule, direction)
        except ValidationError as error:
            errors[name] = error
    if errors:
        raise ValidationError(errors)
    return rule


def check_count(rules: Sized) -> None:
    """Refuses more rules than anybody needs, before one of them is looked at: each costs time in each request."""
    if len(rules) > MAX_RULES:
        raise ValidationError(f"At most {MAX_RULES} rules.", code="max_length")


def parse_rules(text: str, direction: Direction) -> tuple[HeaderRuleSpec, ...]:
    """The rules of a text, one in a line; a line without action sets. Raises ValidationError with every bad line."""
    lines = [(number, line) for number, raw in enumerate(text.splitlines(), start=1) if (line := raw.strip())]
    check_count(lines)
    rules: list[HeaderRuleSpec] = []
    errors: list[ValidationError] = []
    for number, line in lines:
        try:
            rules.append(clean_header_rule(_parse_line(line), direction))
        except ValidationError as error:
            errors.extend(ValidationError(f"Line {number}: {message}", code="invalid") for message in error.messages)
    if errors:
        raise ValidationError(errors)
    return tuple(rules)


def write_rules(rules: Iterable[Mapping[str, str]]) -> str:
    """Stored rules as the text that `parse_rules` reads."""
    return "\n".join(
        f"{rule['action']} {rule['name']}" + (f": {rule['value']}" if rule["action"] != "remove" else "")
        for rule in rules
    )


def _parse_line(line: str) -> HeaderRuleSpec:
    word, _, rest = line.partition(" ")
    action, field = (word.lower(), rest) if word.lower() in ACTIONS else ("set", line)
    name, colon, value = field.partition(":")
    if not colon and action != "remove":
        raise ValidationError(_SYNTAX, code="invalid")
    return HeaderRuleSpec(action=action, name=name.strip(), value=value.strip())


def _check_action(rule: HeaderRuleSpec, direction: Direction) -> None:
    if rule.action not in ACTIONS:
        raise ValidationError("One of set, add and remove.", code="invalid_choice")


def _check_name(rule: HeaderRuleSpec, direction: Direction) -> None:
    if len(rule.name) > MAX_NAME_CHARACTERS:
        raise ValidationError(f"A field name has at most {MAX_NAME_CHARACTERS} characters here.", code="max_length")
    if not _TOKEN.fullmatch(rule.name):
        raise ValidationError("A field name has letters, digits and hyphens, and no spaces.", code="invalid")
    # CGI and WSGI tell an upstream X_Name as X-Name.
    lower = rule.name.lower().replace("_", "-")
    is_forwarded = direction is Direction.REQUEST and lower.startswith(FORWARDED_PREFIX)
    if is_forwarded or lower in _RESERVED[direction]:
        instead = _INSTEAD.get(lower, "")
        raise ValidationError(f"The proxy itself decides about {rule.name}. {instead}".rstrip(), code="reserved")


def _check_value(rule: HeaderRuleSpec, direction: Direction) -> None:
    if rule.action == "remove":
        if rule.value:
            raise ValidationError("A field is removed by its name alone, whatever its value.", code="invalid")
    elif not rule.value:
        raise ValidationError("Enter a value; to drop the field, remove it.", code="required")
    elif len(rule.value) > MAX_VALUE_CHARACTERS:
        raise ValidationError(f"A value has at most {MAX_VALUE_CHARACTERS} characters.", code="max_length")
    elif not _VALUE.fullmatch(rule.value):
        message = "A value is one line of printable ASCII characters without spaces around it."
        raise ValidationError(message, code="invalid")
