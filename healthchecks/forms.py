"""The health check in the host editor. What is valid is decided by the model."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.formsets import INITIAL_FORM_COUNT, TOTAL_FORM_COUNT
from django.forms.models import BaseInlineFormSet
from unfold.widgets import UnfoldAdminTextareaWidget

from healthchecks.models import HealthCheck
from healthchecks.section import FIELDS

_SYNTAX = "Write one header field in a line, as “Name: value”."


class HeadersField(forms.CharField):
    """Header fields, one in a line."""

    widget = UnfoldAdminTextareaWidget

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        headers = []
        for name, colon, text in (line.partition(":") for line in lines if line):
            if not colon:
                raise ValidationError(_SYNTAX, code="invalid")
            headers.append({"name": name.strip(), "value": text.strip()})
        return headers

    def prepare_value(self, value: Any) -> Any:
        """As it is written; what was refused is shown again as it was."""
        if not isinstance(value, list):
            return value
        return "\n".join(f"{header['name']}: {header['value']}" for header in value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or []))
        except ValidationError:
            return True


class HealthCheckForm(forms.ModelForm):  # type: ignore[type-arg]
    """The check of one host."""

    headers = HeadersField(
        label="Headers",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false", "autocomplete": "off"}),
        help_text=f"{_SYNTAX} They are stored as they are: no credentials.",
    )

    class Meta:
        model = HealthCheck
        fields = FIELDS


class HealthCheckFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The one form, if the page had it: what was not sent is left alone."""

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        prefix = kwargs.get("prefix") or self.get_default_prefix()
        if data is not None and f"{prefix}-{TOTAL_FORM_COUNT}" not in data:
            data = {**data, f"{prefix}-{TOTAL_FORM_COUNT}": "0", f"{prefix}-{INITIAL_FORM_COUNT}": "0"}
        super().__init__(data, *args, **kwargs)
