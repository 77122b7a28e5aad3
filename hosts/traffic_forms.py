"""The traffic sections of the host editor.

Laws of this module: labels and help stand at the columns, what is valid is decided by `hosts.traffic` alone. A field
that is left empty has its default.
"""

import re
from typing import Any, cast

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Field
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from hosts.field_errors import FieldErrors
from hosts.header_rules import Direction, parse_rules, without_secrets, write_rules
from hosts.specs import HostSpec
from hosts.traffic import SECTION_OF, SECTIONS, apply_traffic
from hosts.traffic_models import TrafficConfiguration
from upstream_tls.changes import KEEP

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_RULE_PATH = re.compile(r"(?P<name>(?:request|response)_headers)\[(?P<position>[0-9]+)\](?:\.[a-z]+)?")
_SIZE = re.compile(r"([0-9]{1,16})\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)

_RULES_ATTRIBUTES = {
    "rows": 4,
    "spellcheck": "false",
    "autocomplete": "off",
    "placeholder": "set X-Frame-Options: DENY\nadd Link: </style.css>; rel=preload\nremove Server",
    "style": "font-family: ui-monospace, monospace; font-size: 12px",
}


class SizeField(forms.CharField):
    """A number of bytes, with a unit or without, as in nginx: 10m is 10 MiB."""

    widget = UnfoldAdminTextInputWidget

    def to_python(self, value: Any) -> Any:
        text = (super().to_python(value) or "").strip()
        if not text:
            return None
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValidationError("Enter a number of bytes, such as 10m or 512k.", code="invalid")
        return int(found[1]) * _UNITS[found[2].lower()]

    def prepare_value(self, value: Any) -> Any:
        """The shortest way to write it."""
        if not isinstance(value, int):
            return value
        unit = next(unit for unit in reversed(_UNITS) if value % _UNITS[unit] == 0 and (value or not unit))
        return f"{value // _UNITS[unit]}{unit}"


class HeaderRulesField(forms.CharField):
    """Rules, one in a line."""

    def __init__(self, direction: Direction, **options: Any) -> None:
        super().__init__(required=False, widget=UnfoldAdminTextareaWidget(_RULES_ATTRIBUTES), **options)
        self.direction = direction

    def to_python(self, value: Any) -> Any:
        return parse_rules(super().to_python(value) or "", self.direction)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What a page shows again: a secret that was typed into it does not come back."""
        return without_secrets(data) if isinstance(data, str) else data


def _column(name: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", TrafficConfiguration._meta.get_field(name))


def _number(name: str) -> forms.Field:
    """The field of a column; what is missing is left to its default."""
    field = cast("forms.Field", _column(name).formfield(required=False))
    # Any step: a browser would only admit whole seconds.
    field.widget = UnfoldAdminIntegerFieldWidget({"step": "any" if isinstance(field, forms.FloatField) else 1})
    return field


class TrafficFields(forms.ModelForm):  # type: ignore[type-arg]
    """Fields to be mixed into the form of a host. `traffic` is what to save after `is_valid()`."""

    connect_s = _number("connect_s")
    tls_s = _number("tls_s")
    response_head_s = _number("response_head_s")
    body_stall_s = _number("body_stall_s")
    idle_s = _number("idle_s")
    tunnel_idle_s = _number("tunnel_idle_s")
    tunnel_lifetime_s = _number("tunnel_lifetime_s")
    tunnel_drain_s = _number("tunnel_drain_s")
    max_failures = _number("max_failures")
    backoff_s = _number("backoff_s")
    backoff_max_s = _number("backoff_max_s")
    max_attempts = _number("max_attempts")
    budget_percent = _number("budget_percent")
    budget_min_per_s = _number("budget_min_per_s")
    max_body_bytes = SizeField(
        label=_column("max_body_bytes").verbose_name,
        required=False,
        help_text=_column("max_body_bytes").help_text,
    )
    request_headers = HeaderRulesField(
        Direction.REQUEST,
        label="To the upstream",
        help_text="One rule in a line: “set Name: value” replaces, “add Name: value” adds, “remove Name” drops. They "
        "are applied in this order, after everything the proxy does by itself. “set secret Name: value” stores the "
        "value encrypted and never shows it again, as with every name that looks like a credential; left as “••• kept” "
        "or empty, it stays.",
    )
    response_headers = HeaderRulesField(
        Direction.RESPONSE, label="To the client", help_text="The same for what clients are answered."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Fetched anew: a refused form must not leave its values on the instance that the page shows.
        stored = TrafficConfiguration.objects.filter(host_id=self.instance.pk).first()
        self.traffic = stored or TrafficConfiguration(host_id=self.instance.pk)
        for name in SECTION_OF:
            value = getattr(self.traffic, name)
            self.fields[name].initial = int(value) if value == int(value) else value
        self.fields["request_headers"].initial = write_rules(self.traffic.request_headers)
        self.fields["response_headers"].initial = write_rules(self.traffic.response_headers)

    def clean_traffic(self) -> None:
        """To be called by `clean()`. A field that the page did not have is left alone."""
        errors = FieldErrors()
        apply_traffic(
            self.traffic,
            HostSpec(
                timeouts=self._values("timeouts"),
                passive_health=self._values("passive_health"),
                retries=self._values("retries"),
                limits=self._values("limits"),
                request_headers=self._rules("request_headers"),
                response_headers=self._rules("response_headers"),
            ),
            errors,
        )
        try:
            errors.raise_if_any()
        except ValidationError as error:
            for path, problems in error.error_dict.items():
                self._add_errors(path, problems)

    def _add_errors(self, path: str, problems: list[ValidationError]) -> None:
        if rule := _RULE_PATH.fullmatch(path):
            name, number = rule["name"], int(rule["position"]) + 1
            for problem in problems:
                for message in problem.messages:
                    self.add_error(name, ValidationError(f"Rule {number}: {message}", code=problem.code))
            return
        name = path.rpartition(".")[2]
        self.add_error(None if name == NON_FIELD_ERRORS else name, problems)

    def _values(self, section: str) -> dict[str, float]:
        defaults = SECTIONS[section]()
        return {
            name: getattr(defaults, name) if self.cleaned_data[name] is None else self.cleaned_data[name]
            for name, owner in SECTION_OF.items()
            if owner == section and self._is_sent(name)
        }

    def _rules(self, name: str) -> Any:
        return self.cleaned_data[name] if self._is_sent(name) else KEEP

    def _is_sent(self, name: str) -> bool:
        return name in self.cleaned_data and self.add_prefix(name) in self.data
