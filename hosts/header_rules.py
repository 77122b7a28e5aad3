"""Changes to header fields that an operator asks for: what they may be, and how a person writes them.

Laws of this module:
- No rule names a field by which the worker frames a message, chooses a host, or says who the client is.
- A value is one line of visible ASCII: nothing that a parser could take for the end of a field (RFC 9110 section 5.5).
- Refusals are django ValidationErrors keyed by `action`, `name` and `value`; in a text they name the line.
- A text never shows a secret: the stored one is KEPT, and one that was typed and not saved ENTER_AGAIN.
"""

import re
from collections.abc import Iterable, Mapping, Sized
from enum import StrEnum

from django.core.exceptions import ValidationError

from aegis_site.kernel.masking import is_sensitive_field
from hosts.specs import HeaderRuleSpec
from proxyworker.snapshot import FORWARDED_PREFIX, RESERVED_REQUEST_FIELDS, RESERVED_RESPONSE_FIELDS
from upstream_tls.changes import KEEP, Keep

MAX_RULES = 50
MAX_NAME_CHARACTERS = 200
MAX_VALUE_CHARACTERS = 4096

ACTIONS = ("set", "add", "remove")

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 section 5.5 without obs-text and tabs.
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")

# What stands in a text for a value. Neither could be one: values are ASCII.
KEPT = "••• kept"
ENTER_AGAIN = "••• enter again"

_MARK = "secret"

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
    """Stored rules as the text that `parse_rules` reads; secrets are KEPT."""
    return "\n".join(_write_line(rule) for rule in rules)


def without_secrets(text: str) -> str:
    """A text that was refused, to be shown again: where a value may be a secret, it has to be entered again."""
    return "\n".join(_without_secret(line) for line in text.splitlines())


def _write_line(rule: Mapping[str, str]) -> str:
    if "secret" in rule:
        return f"{rule['action']} {_MARK} {rule['name']}: {KEPT}"
    return f"{rule['action']} {rule['name']}" + (f": {rule['value']}" if rule["action"] != "remove" else "")


def _parse_line(line: str) -> HeaderRuleSpec:
    action, is_secret, field = _words(line)
    name, colon, value = (part.strip() for part in field.partition(":"))
    if not colon and action != "remove":
        raise ValidationError(_SYNTAX, code="invalid")
    if value == ENTER_AGAIN:
        raise ValidationError("Enter the value again: it was not saved, and is not sent back.", code="required")
    is_kept = value == KEPT or (not value and action != "remove" and (is_secret or is_sensitive_field(name)))
    return HeaderRuleSpec(action=action, name=name, value=KEEP if is_kept else value, sensitive=is_secret)


def _words(line: str) -> tuple[str, bool, str]:
    """The action of a line, whether it says that its value is a secret, and what follows."""
    word, _, rest = line.partition(" ")
    action, field = (word.lower(), rest.strip()) if word.lower() in ACTIONS else ("set", line)
    word, _, rest = field.partition(" ")
    return (action, True, rest) if word.lower() == _MARK else (action, False, field)


def _without_secret(line: str) -> str:
    _, is_secret, field = _words(line.strip())
    name, colon, value = field.partition(":")
    if not colon:
        # No rule at all: what looks like a credential may stand anywhere in it.
        return ENTER_AGAIN if is_secret or (" " in field.strip() and is_sensitive_field(field, field)) else line
    if value.strip() in ("", KEPT) or not (is_secret or is_sensitive_field(name, value)):
        return line
    return f"{line.partition(':')[0]}: {ENTER_AGAIN}"


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
    if isinstance(rule.value, Keep):
        return
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
